//! Disks with the data of a VolumeSnapshot.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::TypedLocalObjectReference;
use serde_json::json;
use stillpoint_lab::ResourceId;
use stillpoint_system::arm::Arm;

use super::{NAME, State};
use crate::csi::objects;

const POLL: Duration = Duration::from_millis(20);

impl State {
    /// A Premium SSD in `zone` with the data of what a claim names as its source, made if it is not there. Fails while
    /// that is not ready.
    pub(super) async fn copy(
        &self,
        source: &TypedLocalObjectReference,
        namespace: &str,
        name: &str,
        zone: &str,
        tags: BTreeMap<String, String>,
    ) -> Result<ResourceId> {
        let id = self.lab.disk_id(name);
        if let Some(disk) = self.lab.disk(&id) {
            let state = &disk["properties"]["provisioningState"];
            ensure!(*state == "Succeeded", "disk {id} is {state}");
            return Ok(id);
        }
        let snapshot = self.snapshot(source, namespace).await?;
        let number = zone.rsplit_once('-').map(|(_, number)| number);
        let disk = json!({
            "location": "westeurope",
            "sku": { "name": "Premium_LRS" },
            "zones": number.as_slice(),
            "tags": tags,
            "properties": {
                "creationData": { "createOption": "Copy", "sourceResourceId": snapshot },
                "diskSizeGB": 1,
            },
        });
        let arm = self.arm.get_or_try_init(|| Arm::login(&self.lab)).await?;
        arm.finish(arm.put(&id, &disk).await?, POLL)
            .await
            .with_context(|| format!("copying {snapshot}"))?;
        Ok(id)
    }

    /// The snapshot in Azure of a VolumeSnapshot that is ready.
    async fn snapshot(
        &self,
        source: &TypedLocalObjectReference,
        namespace: &str,
    ) -> Result<String> {
        let name = &source.name;
        ensure!(source.kind == "VolumeSnapshot", "the source is {source:?}");
        let snapshots = objects::snapshots(self.client.clone(), namespace);
        let snapshot = snapshots.get(name).await?;
        let status = &snapshot.data["status"];
        ensure!(
            status["readyToUse"] == true,
            "VolumeSnapshot {namespace}/{name} is not ready: {status}"
        );
        let content = status["boundVolumeSnapshotContentName"].as_str();
        let content = content.context("a VolumeSnapshot that is ready has no content")?;
        let content = objects::contents(self.client.clone()).get(content).await?;
        let driver = &content.data["spec"]["driver"];
        ensure!(*driver == NAME, "the snapshot is of {driver}");
        Ok(objects::handle(&content)?.to_string())
    }
}
