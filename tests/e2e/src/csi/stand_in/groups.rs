//! Snapshots of several disks at once, one a disk, begun together.

use std::{collections::HashMap, sync::Arc};

use futures::future::try_join_all;
use tonic::{Request, Response, Status, async_trait};

use super::{
    proto::{
        CreateVolumeGroupSnapshotRequest, CreateVolumeGroupSnapshotResponse,
        GroupControllerGetCapabilitiesRequest, GroupControllerGetCapabilitiesResponse,
        GroupControllerServiceCapability, VolumeGroupSnapshot, group_controller_server,
        group_controller_service_capability as capability,
    },
    snapshots::{Snapshots, internal},
};

#[derive(Debug)]
pub(super) struct Groups(pub(super) Arc<Snapshots>);

#[async_trait]
impl group_controller_server::GroupController for Groups {
    async fn group_controller_get_capabilities(
        &self,
        _: Request<GroupControllerGetCapabilitiesRequest>,
    ) -> Result<Response<GroupControllerGetCapabilitiesResponse>, Status> {
        let rpc = capability::Rpc {
            r#type: capability::rpc::Type::CreateDeleteGetVolumeGroupSnapshot.into(),
        };
        Ok(Response::new(GroupControllerGetCapabilitiesResponse {
            capabilities: vec![GroupControllerServiceCapability { rpc: Some(rpc) }],
        }))
    }

    async fn create_volume_group_snapshot(
        &self,
        request: Request<CreateVolumeGroupSnapshotRequest>,
    ) -> Result<Response<CreateVolumeGroupSnapshotResponse>, Status> {
        let CreateVolumeGroupSnapshotRequest {
            name,
            source_volume_ids: sources,
        } = request.into_inner();
        let none = HashMap::new();
        let snapshots = sources
            .iter()
            .enumerate()
            .map(|(number, source)| self.0.snapshot(source, format!("{name}-{number}"), &none));
        let mut snapshots = try_join_all(snapshots).await?;
        for snapshot in &mut snapshots {
            snapshot.group_snapshot_id.clone_from(&name);
        }
        let first = snapshots.first();
        let first = first.ok_or_else(|| internal("create group", "no volumes"))?;
        let group = VolumeGroupSnapshot {
            group_snapshot_id: name,
            creation_time: first.creation_time,
            ready_to_use: snapshots.iter().all(|snapshot| snapshot.ready_to_use),
            snapshots,
        };
        Ok(Response::new(CreateVolumeGroupSnapshotResponse {
            group_snapshot: Some(group),
        }))
    }
}
