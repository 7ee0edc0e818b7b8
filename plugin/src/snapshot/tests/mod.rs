//! Every way a cut can go, each ending with: nothing frozen, nothing orphaned, and the truth told.

mod azure;
mod cancel;
mod holds;
mod sets;
mod sweep;

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{
    Process, SnapshotError, Snapshots, Taken, Volume,
    fake::{self, FIXING, Put, World, disk, disk_id},
};
use crate::{
    config::{
        FreezeMode::{self, Auto, Off, Required},
        Location, Settings,
    },
    model::{Consistency, Sku, SnapshotId},
    ports::Refusal,
};

type Result<T> = std::result::Result<T, SnapshotError>;

fn site(world: &World, config: &[(&str, &str)]) -> Snapshots {
    let config: HashMap<String, String> = config
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    let location = Location::new(Settings::parse(&config).unwrap(), fake::group());
    let process = Arc::new(Process::default());
    Snapshots::new(
        Arc::new(location),
        Arc::new(world.clone()),
        Arc::new(world.clone()),
        None,
        None,
        process,
    )
}

fn volume(id: impl ToString) -> Volume {
    let tags = [("velero.io/backup".to_owned(), "b1".to_owned())].into();
    Volume {
        id: id.to_string(),
        tags,
        home: None,
    }
}

async fn take(world: &World, mode: FreezeMode) -> Result<Taken> {
    site(world, &[])
        .take(volume(disk_id("data")), mode, &CancellationToken::new())
        .await
}

fn refuse(world: &World, name: &str, not_mounted: bool) {
    let refusal = Refusal {
        not_mounted,
        message: "why".to_owned(),
    };
    world
        .node
        .lock()
        .unwrap()
        .refuses
        .insert(disk_id(name).into(), refusal);
}

fn detached(name: &str) -> crate::model::Disk {
    crate::model::Disk {
        attached_to: vec![],
        ..disk(name)
    }
}

fn expect(world: &World, taken: Result<Taken>, consistency: Consistency) -> Taken {
    let taken = taken.unwrap();
    assert_eq!(
        taken.worth.consistency, consistency,
        "{}",
        taken.worth.reason
    );
    world.assert_clean(std::slice::from_ref(&taken.snapshot));
    let tags = world.lock().snapshots[&taken.snapshot].tags.clone();
    assert_eq!(tags["stillpoint-consistency"], consistency.to_string());
    assert_eq!(tags["velero.io-backup"], "b1");
    assert_eq!(
        tags["stillpoint-disk-sku"],
        world.lock().disks[&taken.disk].properties.sku.as_str()
    );
    taken.clone()
}

fn expect_none<T: std::fmt::Debug>(world: &World, taken: Result<T>, part: &str) -> SnapshotError {
    let error = taken.unwrap_err();
    assert!(error.to_string().contains(part), "{error}");
    world.assert_clean(&[]);
    error
}

fn premium_v2() -> crate::model::Disk {
    let properties = crate::model::DiskProperties {
        iops_read_write: Some(9000),
        ..fake::properties("PremiumV2_LRS")
    };
    crate::model::Disk {
        properties,
        ..disk("data")
    }
}
