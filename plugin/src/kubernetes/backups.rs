//! Velero's Backup objects.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, PoisonError},
};

use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, ListParams},
    core::GroupVersionKind,
};

use super::patiently;

const PAGE: u32 = 500;

/// Those of one namespace.
pub(super) struct Backups {
    api: Api<DynamicObject>,
    /// UIDs by name; those of other processes' backups do not matter.
    known: Mutex<HashMap<String, String>>,
}

impl Backups {
    pub(super) fn new(client: Client, namespace: &str) -> Self {
        let kind = GroupVersionKind::gvk("velero.io", "v1", "Backup");
        let resource = ApiResource::from_gvk(&kind);
        Self {
            api: Api::namespaced_with(client, namespace, &resource),
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

    pub(super) async fn given_up(&self) -> Result<HashSet<String>, String> {
        let mut params = ListParams::default().limit(PAGE);
        let mut given_up = HashSet::new();
        loop {
            let page = patiently(self.api.list(&params)).await?;
            let found = page.items.into_iter().filter(is_given_up);
            given_up.extend(found.filter_map(|backup| backup.metadata.uid));
            match page.metadata.continue_.filter(|more| !more.is_empty()) {
                Some(more) => params = params.continue_token(&more),
                None => return Ok(given_up),
            }
        }
    }
}

/// Velero's server fails what is in progress when it starts. It counts the snapshots of a backup once all items are
/// done, and writes them down after that (pkg/controller/backup_controller.go, runBackup); so if items were left, or
/// snapshots counted, it may have a record.
fn is_given_up(backup: &DynamicObject) -> bool {
    let status = &backup.data["status"];
    let count = |value: &serde_json::Value| value.as_u64().unwrap_or_default();
    let progress = &status["progress"];
    let all = count(&progress["totalItems"]);
    let done = all > 0 && count(&progress["itemsBackedUp"]) >= all;
    status["phase"] == "Failed" && count(&status["volumeSnapshotsAttempted"]) == 0 && !done
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_backup_that_may_have_a_record_was_not_given_up() {
        for (status, expected) in [
            (json!({ "phase": "Failed" }), true),
            (
                json!({ "phase": "Failed", "progress": { "totalItems": 9, "itemsBackedUp": 4 } }),
                true,
            ),
            (
                json!({ "phase": "Failed", "progress": { "totalItems": 9, "itemsBackedUp": 9 } }),
                false,
            ),
            (
                json!({ "phase": "Failed", "volumeSnapshotsAttempted": 1 }),
                false,
            ),
            (json!({ "phase": "InProgress" }), false),
            (json!({ "phase": "PartiallyFailed" }), false),
            (json!({}), false),
        ] {
            let backup = json!({ "metadata": { "name": "b" }, "status": status });
            let backup: DynamicObject = serde_json::from_value(backup).unwrap();
            assert_eq!(is_given_up(&backup), expected, "{status}");
        }
    }
}
