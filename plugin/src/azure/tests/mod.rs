//! The adapter on the simulated Azure.

mod certificates;
mod cut;
mod disks;
mod faults;
mod identities;
mod limits;
mod login;
pub(super) mod redaction;
mod refusals;

use std::{collections::BTreeMap, time::Duration};

use stillpoint_lab::{Action, Fault, Lab, NewDisk, RequestRecord, settings};

use super::{Client, Settings, connect};
use crate::model::{DiskId, ResourceGroup, SnapshotId, SnapshotSpec};

/// A lab and a client of it.
pub(super) struct Bench {
    pub(super) lab: Lab,
    pub(super) client: Client,
}

/// `None`, said loudly, where loop mounts are not to be had.
pub(super) async fn bench(settings: settings::Settings) -> Option<Bench> {
    let lab = start(settings).await?;
    let client = connect(&location(&lab)).unwrap();
    Some(Bench { lab, client })
}

pub(super) async fn start(settings: settings::Settings) -> Option<Lab> {
    if let Some(why) = stillpoint_loopfs::missing() {
        eprintln!("SKIPPED: {why}");
        return None;
    }
    Some(Lab::start(settings).await.unwrap())
}

pub(super) fn location(lab: &Lab) -> Settings {
    Settings {
        credentials_file: Some(lab.endpoints().credentials_file.clone()),
        active_directory_authority: Some(lab.endpoint().parse().unwrap()),
        resource_manager_endpoint: Some(lab.endpoint().parse().unwrap()),
        ca_cert: Some(lab.ca_pem().to_owned()),
        api_timeout: Duration::from_secs(20),
        ..Settings::default()
    }
}

impl Bench {
    pub(super) fn group(&self) -> ResourceGroup {
        self.client.environment().cluster.clone().unwrap()
    }

    pub(super) fn disk(&self, name: &str) -> DiskId {
        let id = self.lab.disk_id(name);
        self.lab.create_disk(&NewDisk::new(id)).unwrap();
        DiskId::new(self.group(), name)
    }

    pub(super) fn spec(&self, name: &str, source: &DiskId) -> SnapshotSpec {
        SnapshotSpec {
            id: SnapshotId::new(self.group(), name),
            location: "westeurope".to_owned(),
            source: source.clone(),
            incremental: true,
            access: Default::default(),
            tags: BTreeMap::from([("stillpoint-state".to_owned(), "pending".to_owned())]),
        }
    }

    pub(super) fn inject(&self, method: &str, path: &str, times: u32, action: Action) {
        self.lab.inject(Fault {
            method: Some(method.to_owned()),
            path: path.to_owned(),
            skip: 0,
            times,
            action,
        });
    }

    pub(super) fn requests(&self, method: &str, part: &str) -> Vec<RequestRecord> {
        let mut found = self.lab.requests();
        found.retain(|request| {
            request.method == method && request.path.to_lowercase().contains(part)
        });
        found
    }
}

pub(super) fn status(status: u16) -> Action {
    Action::Status {
        status,
        code: None,
        message: None,
        retry_after: None,
    }
}
