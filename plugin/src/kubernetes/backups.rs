//! Velero's Backup objects.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, PoisonError},
};

use kube::{
    Api, Client, ResourceExt as _,
    api::{DynamicObject, ListParams},
};

use super::{patiently, record};
use crate::model::SnapshotId;

const PAGE: u32 = 500;

/// Those of one namespace.
pub(super) struct Backups {
    client: Client,
    namespace: String,
    api: Api<DynamicObject>,
    /// UIDs by name; those of other processes' backups do not matter.
    known: Mutex<HashMap<String, String>>,
}

impl Backups {
    pub(super) fn new(client: Client, namespace: &str) -> Self {
        let resource = record::resource("Backup");
        Self {
            api: Api::namespaced_with(client.clone(), namespace, &resource),
            client,
            namespace: namespace.to_owned(),
            known: Mutex::default(),
        }
    }

    pub(super) async fn uid(&self, name: &str) -> Result<Option<String>, String> {
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(uid) = known().get(name) {
            return Ok(Some(uid.clone()));
        }
        let found = patiently(self.api.get_metadata_opt(name)).await?;
        let uid = found.and_then(|found| found.metadata.uid);
        known().extend(uid.clone().map(|uid| (name.to_owned(), uid)));
        Ok(uid)
    }

    /// What is on record of those of these backups, by UID, that ended with fewer snapshots than they asked for.
    pub(super) async fn on_record(
        &self,
        of: &HashSet<String>,
    ) -> Result<HashMap<String, HashSet<SnapshotId>>, String> {
        let mut params = ListParams::default().limit(PAGE);
        let mut on_record = HashMap::new();
        loop {
            let page = patiently(self.api.list(&params)).await?;
            for backup in page.items {
                let Some(uid) = backup.uid().filter(|uid| of.contains(uid)) else {
                    continue;
                };
                on_record.extend(self.recorded(&backup).await.map(|record| (uid, record)));
            }
            match page.metadata.continue_.filter(|more| !more.is_empty()) {
                Some(more) => params = params.continue_token(&more),
                None => return Ok(on_record),
            }
        }
    }

    async fn recorded(&self, backup: &DynamicObject) -> Option<HashSet<SnapshotId>> {
        let written = match Fate::of(backup) {
            Fate::Kept => return None,
            Fate::GivenUp => return Some(HashSet::new()),
            Fate::Short { written } => written,
        };
        let read = record::read(&self.client, &self.namespace, backup).await;
        let read = read.and_then(|ids| match ids.len() {
            many if many as u64 == written => Ok(ids),
            many => Err(format!("it has {many} snapshots, and its Backup {written}")),
        });
        match read {
            // Those of other plugins are none of ours.
            Ok(ids) => Some(ids.iter().filter_map(|id| id.parse().ok()).collect()),
            Err(reason) => {
                tracing::info!(
                    backup = backup.name_any(),
                    reason,
                    "the record of a backup cannot be read; if it has lost snapshots, they stay"
                );
                None
            }
        }
    }
}

/// What became of a backup's snapshots.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// It has all that it asked for, or will have, or nobody knows.
    Kept,
    /// Velero gave it up in its middle, and has none on record.
    GivenUp,
    /// It has fewer than it asked for.
    Short {
        /// So many are on record.
        written: u64,
    },
}

impl Fate {
    /// Velero's server fails what is in progress when it starts. It counts the snapshots of a backup once all items are
    /// done, and writes them down after that (pkg/controller/backup_controller.go, runBackup); so if items were left, or
    /// snapshots counted, it may have a record. One that is partially failed has it.
    fn of(backup: &DynamicObject) -> Self {
        let status = &backup.data["status"];
        let count = |value: &serde_json::Value| value.as_u64().unwrap_or_default();
        let asked = count(&status["volumeSnapshotsAttempted"]);
        let written = count(&status["volumeSnapshotsCompleted"]);
        let progress = &status["progress"];
        let all = count(&progress["totalItems"]);
        let done = all > 0 && count(&progress["itemsBackedUp"]) >= all;
        match status["phase"].as_str() {
            Some("Failed") if asked == 0 && !done => Self::GivenUp,
            Some("PartiallyFailed") if written < asked => Self::Short { written },
            _ => Self::Kept,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_backup_that_may_have_a_record_was_not_given_up() {
        let progress = |done: u32| json!({ "totalItems": 9, "itemsBackedUp": done });
        for (status, expected) in [
            (json!({ "phase": "Failed" }), Fate::GivenUp),
            (
                json!({ "phase": "Failed", "progress": progress(4) }),
                Fate::GivenUp,
            ),
            (
                json!({ "phase": "Failed", "progress": progress(9) }),
                Fate::Kept,
            ),
            (
                json!({ "phase": "Failed", "volumeSnapshotsAttempted": 1 }),
                Fate::Kept,
            ),
            (
                json!({ "phase": "InProgress", "volumeSnapshotsAttempted": 2 }),
                Fate::Kept,
            ),
            (json!({ "phase": "PartiallyFailed" }), Fate::Kept),
            (
                json!({ "phase": "PartiallyFailed", "volumeSnapshotsAttempted": 2 }),
                Fate::Short { written: 0 },
            ),
            (
                json!({
                    "phase": "PartiallyFailed",
                    "volumeSnapshotsAttempted": 3, "volumeSnapshotsCompleted": 2,
                }),
                Fate::Short { written: 2 },
            ),
            (
                json!({
                    "phase": "PartiallyFailed",
                    "volumeSnapshotsAttempted": 3, "volumeSnapshotsCompleted": 3,
                }),
                Fate::Kept,
            ),
            (json!({}), Fate::Kept),
        ] {
            let backup = json!({ "metadata": { "name": "b" }, "status": status });
            let backup: DynamicObject = serde_json::from_value(backup).unwrap();
            assert_eq!(Fate::of(&backup), expected, "{status}");
        }
    }
}
