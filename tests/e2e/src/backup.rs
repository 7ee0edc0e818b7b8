//! Backups: begun by Velero's command line, and what Velero says of them.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context as _, Result, ensure};
use kube::{
    Api,
    api::{ApiResource, DynamicObject},
    core::GroupVersionKind,
};
use serde_json::Value;
use stillpoint_cluster::until;

use crate::World;

/// After an outage of the API server Velero's own watch comes back only later.
const ENDS_WITHIN: Duration = Duration::from_secs(240);
const LAST: [&str; 4] = ["Completed", "PartiallyFailed", "Failed", "FailedValidation"];

impl World {
    /// The Backup objects.
    pub fn backups(&self) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk("velero.io", "v1", "Backup");
        Api::namespaced_with(self.client(), "velero", &ApiResource::from_gvk(&kind))
    }

    /// `velero backup create` of namespaces, with commas between; does not wait for it.
    pub async fn begin_backup(&self, name: &str, namespaces: &str) -> Result<()> {
        let namespaces = format!("--include-namespaces={namespaces}");
        let create = ["backup", "create", name, &namespaces];
        self.velero.cli(&create).await.map(drop)
    }

    /// Backs namespaces up, with commas between, by several item-block workers. `false` if the server died over it, and
    /// was started again: Velero's workers share a map that nothing guards (internal/volume/volumes_information.go,
    /// pvcPvMap, in 1.18 and after it), and Go ends a process that it catches writing to a map twice at once; one of some
    /// backups by eight workers ends so.
    pub async fn is_backed_up(&mut self, name: &str, namespaces: &str) -> Result<bool> {
        self.begin_backup(name, namespaces).await?;
        let what = format!("{name} ends, or the server");
        let ended = until(&what, ENDS_WITHIN, async || {
            if self.velero.has_ended()? {
                return Ok(Some(None));
            }
            self.seen_backup(name).await.map(|seen| Some(Some(seen)))
        });
        if let Some((phase, status)) = ended.await? {
            ensure!(phase == "Completed", "{phase}: {status:#}");
            return Ok(true);
        }
        let log = self.velero.log();
        let known = log.contains("concurrent map") && log.contains("pvcPvMap");
        ensure!(known, "the server ended by itself");
        eprintln!(
            "Velero's server ended over its map; it is started again, and another backup is made"
        );
        self.velero.start().await?;
        let (phase, status) = self.ended_backup(name).await?;
        ensure!(phase == "Failed", "{phase}: {status:#}");
        Ok(false)
    }

    /// Waits for the end of a backup: its phase, and the rest of its status.
    pub async fn ended_backup(&self, name: &str) -> Result<(String, Value)> {
        let what = format!("backup {name} ends");
        until(&what, ENDS_WITHIN, async || {
            self.seen_backup(name).await.map(Some)
        })
        .await
    }

    /// The same without waiting; an error while it runs.
    pub async fn seen_backup(&self, name: &str) -> Result<(String, Value)> {
        let mut backup = self.backups().get(name).await?;
        let status = backup.data["status"].take();
        let phase = status["phase"].as_str().unwrap_or_default();
        ensure!(LAST.contains(&phase), "{status}");
        Ok((phase.to_owned(), status))
    }

    /// `velero backup describe --details`.
    pub async fn described(&self, name: &str) -> Result<String> {
        let describe = ["backup", "describe", name, "--details", "--colorized=false"];
        self.velero.cli(&describe).await
    }

    /// The IDs of the snapshots that Velero has written down for a backup.
    pub async fn recorded(&self, name: &str) -> Result<BTreeSet<String>> {
        let describe = ["backup", "describe", name, "--details", "-o", "json"];
        let said = self.velero.cli(&describe).await?;
        let said: Value = serde_json::from_str(&said)?;
        let volumes = &said["status"]["backupVolumes"]["nativeSnapshots"];
        let volumes = volumes.as_object();
        let volumes = volumes.with_context(|| format!("no record of snapshots in {said:#}"))?;
        let ids = volumes
            .values()
            .filter_map(|one| one["snapshotID"].as_str());
        // One that was not taken has none.
        Ok(ids.filter(|id| !id.is_empty()).map(Into::into).collect())
    }
}
