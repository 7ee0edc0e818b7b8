//! The VolumeSnapshotter service: checks names, decodes, runs the use case as a call, encodes.

use stillpoint_proto::velero::{self as wire, volume_snapshotter_server::VolumeSnapshotter};
use tonic::{Request, Response, Status};

use super::{
    calling::Calling,
    open::Open,
    request::RequestError,
    snapshotter::{CreateSnapshot, CreateVolume, Location},
};

pub(super) struct SnapshotterService<L: Open>(pub(super) Calling<L>);

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl<L> VolumeSnapshotter for SnapshotterService<L>
where
    L: Open,
    L::Opened: Location<Error = L::Error>,
    Status: From<L::Error>,
{
    async fn init(
        &self,
        request: Request<wire::VolumeSnapshotterInitRequest>,
    ) -> Answer<wire::Empty> {
        let wire::VolumeSnapshotterInitRequest { plugin, config } = request.into_inner();
        self.0.init(&plugin, config).await?;
        Ok(Response::new(wire::Empty {}))
    }

    async fn get_volume_info(
        &self,
        request: Request<wire::GetVolumeInfoRequest>,
    ) -> Answer<wire::GetVolumeInfoResponse> {
        let wire::GetVolumeInfoRequest {
            plugin,
            volume_id,
            volume_az,
        } = request.into_inner();
        let info = self
            .0
            .on(&plugin, |location, cancel| async move {
                location
                    .volume_info(volume_id, given(volume_az), cancel)
                    .await
            })
            .await?;
        Ok(Response::new(wire::GetVolumeInfoResponse {
            volume_type: info.volume_type,
            // Velero takes 0 for none.
            iops: info.iops.unwrap_or_default(),
        }))
    }

    async fn create_snapshot(
        &self,
        request: Request<wire::CreateSnapshotRequest>,
    ) -> Answer<wire::CreateSnapshotResponse> {
        let wire::CreateSnapshotRequest {
            plugin,
            volume_id,
            volume_az,
            tags,
        } = request.into_inner();
        let request = CreateSnapshot {
            volume: volume_id,
            zone: given(volume_az),
            tags: tags.into_iter().collect(),
        };
        let snapshot_id = self
            .0
            .on(&plugin, |location, cancel| async move {
                location.create_snapshot(request, cancel).await
            })
            .await?;
        Ok(Response::new(wire::CreateSnapshotResponse { snapshot_id }))
    }

    async fn delete_snapshot(
        &self,
        request: Request<wire::DeleteSnapshotRequest>,
    ) -> Answer<wire::Empty> {
        let wire::DeleteSnapshotRequest {
            plugin,
            snapshot_id,
        } = request.into_inner();
        self.0
            .on(&plugin, |location, cancel| async move {
                location.delete_snapshot(snapshot_id, cancel).await
            })
            .await?;
        Ok(Response::new(wire::Empty {}))
    }

    async fn create_volume_from_snapshot(
        &self,
        request: Request<wire::CreateVolumeRequest>,
    ) -> Answer<wire::CreateVolumeResponse> {
        let wire::CreateVolumeRequest {
            plugin,
            snapshot_id,
            volume_type,
            volume_az,
            iops,
        } = request.into_inner();
        let request = CreateVolume {
            snapshot: snapshot_id,
            volume_type,
            zone: given(volume_az),
            iops: (iops != 0).then_some(iops),
        };
        let volume_id = self
            .0
            .on(&plugin, |location, cancel| async move {
                location.create_volume(request, cancel).await
            })
            .await?;
        Ok(Response::new(wire::CreateVolumeResponse { volume_id }))
    }

    async fn get_volume_id(
        &self,
        request: Request<wire::GetVolumeIdRequest>,
    ) -> Answer<wire::GetVolumeIdResponse> {
        let wire::GetVolumeIdRequest {
            plugin,
            persistent_volume,
        } = request.into_inner();
        let volume = decode(&persistent_volume)?;
        let volume_id = self
            .0
            .on(&plugin, |location, cancel| async move {
                location.volume_id(volume, cancel).await
            })
            .await?;
        // Velero takes the empty string for "not a volume of this plugin".
        Ok(Response::new(wire::GetVolumeIdResponse {
            volume_id: volume_id.unwrap_or_default(),
        }))
    }

    async fn set_volume_id(
        &self,
        request: Request<wire::SetVolumeIdRequest>,
    ) -> Answer<wire::SetVolumeIdResponse> {
        let wire::SetVolumeIdRequest {
            plugin,
            persistent_volume,
            volume_id,
        } = request.into_inner();
        let volume = decode(&persistent_volume)?;
        let volume = self
            .0
            .on(&plugin, |location, cancel| async move {
                location.set_volume_id(volume, volume_id, cancel).await
            })
            .await?;
        let persistent_volume = serde_json::to_vec(&volume).map_err(RequestError::Answer)?;
        Ok(Response::new(wire::SetVolumeIdResponse {
            persistent_volume,
        }))
    }
}

fn decode(persistent_volume: &[u8]) -> Result<serde_json::Value, RequestError> {
    serde_json::from_slice(persistent_volume).map_err(RequestError::PersistentVolume)
}

/// Velero writes what it does not know as the empty string.
fn given(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}
