//! What the identity may do, tried on resources that do not exist: Azure looks at the right first and at the resource
//! after, so nothing is changed.

use std::{collections::BTreeMap, time::SystemTime};

use azure_mgmt_compute::package_2024_07_01::models::DiskUpdate;

use super::{
    bucket::Kind,
    client::Client,
    core::{CallFailure, Reply},
    snapshot_map,
};
use crate::{model::ResourceGroup, ports::AzureError};

const VERSION: &str = "api-version=2024-03-02";

/// One right, tried.
#[derive(Clone, Debug)]
pub struct Trial {
    /// `Microsoft.Compute/disks/read`, ….
    pub action: &'static str,
    /// The resource group in which it was tried.
    pub group: ResourceGroup,
    /// An error if it is not there, or nobody knows.
    pub outcome: Result<(), AzureError>,
}

impl Client {
    /// Tries what a backup does in these groups, and a restore.
    pub async fn try_rights(
        &self,
        disks: &ResourceGroup,
        snapshots: &ResourceGroup,
        restored: &ResourceGroup,
    ) -> Vec<Trial> {
        let name = format!("stillpoint-doctor-{}", uuid::Uuid::new_v4().simple());
        let name = name.as_str();
        let (disk, snapshot) = (self.core.disks(), self.core.snapshots());
        let mut trials = Vec::new();
        let mut note = |action, group: &ResourceGroup, tried| {
            trials.push(Trial {
                action,
                group: group.clone(),
                outcome: outcome(tried, action, group),
            });
        };
        let all = [disks, restored];
        let groups = if disks == restored {
            &all[..1]
        } else {
            &all[..]
        };
        for group in groups {
            let read = || disk.get(&group.subscription, &group.name, name).send();
            let tried = self.tried(Kind::Read, group, read).await;
            note("Microsoft.Compute/disks/read", group, tried);
        }

        // A PUT of a snapshot checks this right on its source.
        let path = format!("{disks}/providers/Microsoft.Compute/disks/{name}/beginGetAccess");
        let url = self.core.wire.url(&path, VERSION);
        let export = || self.core.wire.post(&url);
        let tried = self.tried(Kind::Write, disks, export).await;
        note(
            "Microsoft.Compute/disks/beginGetAccess/action",
            disks,
            tried,
        );

        let (subscription, group) = (&snapshots.subscription, &snapshots.name);
        let write = || {
            let patch = snapshot_map::to_patch(&BTreeMap::new());
            snapshot.update(subscription, group, name, patch).send()
        };
        let tried = self.tried(Kind::Write, snapshots, write).await;
        note("Microsoft.Compute/snapshots/write", snapshots, tried);
        let delete = || snapshot.delete(subscription, group, name).send();
        let tried = self.tried(Kind::Delete, snapshots, delete).await;
        note("Microsoft.Compute/snapshots/delete", snapshots, tried);

        let (subscription, group) = (&restored.subscription, &restored.name);
        let write = || {
            let nothing = DiskUpdate::new();
            disk.update(subscription, group, name, nothing).send()
        };
        let tried = self.tried(Kind::Write, restored, write).await;
        note("Microsoft.Compute/disks/write", restored, tried);
        let delete = || disk.delete(subscription, group, name).send();
        let tried = self.tried(Kind::Delete, restored, delete).await;
        note("Microsoft.Compute/disks/delete", restored, tried);
        trials
    }

    async fn tried<R, F>(
        &self,
        kind: Kind,
        group: &ResourceGroup,
        request: impl Fn() -> F + Send,
    ) -> Result<Reply, CallFailure>
    where
        R: Into<azure_core_021::Response>,
        F: Future<Output = azure_core_021::Result<R>> + Send,
    {
        let terms = self.terms(kind, &group.subscription);
        self.core.call(terms, request).await
    }

    /// The time as Azure has it, if it tells.
    pub async fn azure_time(&self, group: &ResourceGroup) -> Option<SystemTime> {
        self.log_in().await.ok()?;
        let url = self.core.wire.list_of(group);
        let answer = self.core.wire.get(&url).await.ok()?;
        let name = azure_core_021::headers::HeaderName::from_static("date");
        let date = answer.headers().get_optional_string(&name)?;
        let date = jiff::fmt::rfc2822::parse(&date).ok()?;
        Some(date.timestamp().into())
    }
}

/// Whoever is told that there is no such resource, or that the request makes no sense, had the right to ask.
fn outcome(
    tried: Result<Reply, CallFailure>,
    action: &str,
    group: &ResourceGroup,
) -> Result<(), AzureError> {
    let Err(failed) = tried else {
        return Ok(());
    };
    let failure = &failed.failure;
    let no_group =
        failure.is_code("ResourceGroupNotFound") || failure.is_code("SubscriptionNotFound");
    match failure.status() {
        Some(400 | 404) if !no_group => Ok(()),
        _ => Err(failed.about(&format!("{action} in {group}"))),
    }
}
