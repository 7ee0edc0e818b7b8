//! Locations of disks whose volumes behave as they are called.

use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::Value;
use stillpoint_plugin::velero::{self, Config, CreateSnapshot, CreateVolume, VolumeInfo};
use tokio::sync::Barrier;
use tokio_util::sync::CancellationToken;

use super::{Events, FakeError};

/// Shared with the test.
#[derive(Debug)]
pub(crate) struct Disks {
    opened: AtomicUsize,
    events: Events,
    meeting: Barrier,
}

impl Default for Disks {
    fn default() -> Self {
        Self {
            opened: AtomicUsize::new(0),
            events: Events::default(),
            meeting: Barrier::new(8),
        }
    }
}

impl Disks {
    /// How many locations were opened.
    pub(crate) fn opened(&self) -> usize {
        self.opened.load(Ordering::SeqCst)
    }

    /// Waits until a snapshot of `volume` has begun.
    pub(crate) async fn begun(&self, volume: &str) {
        self.events.seen(&format!("begun {volume}")).await;
    }

    /// Waits until what was begun is cleaned up.
    pub(crate) async fn cleaned(&self, volume: &str) {
        self.events.seen(&format!("cleaned {volume}")).await;
    }
}

/// Opens with any `resourceGroup`.
pub(crate) struct Locations(pub(crate) Arc<Disks>);

/// One of them.
#[derive(Debug)]
pub(crate) struct Location {
    disks: Arc<Disks>,
    group: String,
}

impl velero::Open for Locations {
    type Opened = Location;
    type Error = FakeError;

    async fn open(&self, mut config: Config, _: CancellationToken) -> Result<Location, FakeError> {
        tokio::task::yield_now().await;
        let group = config.remove("resourceGroup");
        if let Some((key, _)) = config.pop_first() {
            return Err(FakeError::Key(key));
        }
        self.0.opened.fetch_add(1, Ordering::SeqCst);
        Ok(Location {
            disks: Arc::clone(&self.0),
            group: group.unwrap_or_default(),
        })
    }
}

impl velero::Location for Location {
    type Error = FakeError;

    async fn volume_info(
        &self,
        _: String,
        zone: Option<String>,
        _: CancellationToken,
    ) -> Result<VolumeInfo, FakeError> {
        Ok(match zone {
            Some(zone) => VolumeInfo {
                volume_type: format!("Premium_LRS in {zone}"),
                iops: Some(500),
            },
            None => VolumeInfo {
                volume_type: "Premium_LRS".to_owned(),
                iops: None,
            },
        })
    }

    async fn create_snapshot(
        &self,
        request: CreateSnapshot,
        cancel: CancellationToken,
    ) -> Result<String, FakeError> {
        let volume = request.volume.as_str();
        self.disks.events.note(&format!("begun {volume}"));
        match volume {
            "slow" => {
                cancel.cancelled().await;
                tokio::time::sleep(Duration::from_millis(20)).await;
                self.disks.events.note("cleaned slow");
                return Err(FakeError::Cancelled);
            }
            "stubborn" => std::future::pending().await,
            "meeting of 8" => {
                self.disks.meeting.wait().await;
            }
            _ => {}
        }
        let mut id = format!("{volume}@{}", request.zone.unwrap_or_default());
        for (key, value) in request.tags {
            write!(id, " {key}={value}").unwrap();
        }
        Ok(id)
    }

    async fn delete_snapshot(&self, id: String, _: CancellationToken) -> Result<(), FakeError> {
        match id.as_str() {
            "missing" => Err(FakeError::Missing),
            "defect" => panic!("a defect"),
            _ => Ok(()),
        }
    }

    async fn create_volume(
        &self,
        request: CreateVolume,
        _: CancellationToken,
    ) -> Result<String, FakeError> {
        if request.snapshot == "group" {
            return Ok(self.group.clone());
        }
        let CreateVolume {
            snapshot,
            volume_type,
            zone,
            iops,
        } = request;
        Ok(format!("{snapshot} {volume_type} {zone:?} {iops:?}"))
    }

    async fn volume_id(
        &self,
        volume: Value,
        _: CancellationToken,
    ) -> Result<Option<String>, FakeError> {
        Ok(volume["spec"]["disk"].as_str().map(str::to_owned))
    }

    async fn set_volume_id(
        &self,
        mut volume: Value,
        id: String,
        _: CancellationToken,
    ) -> Result<Value, FakeError> {
        volume["spec"]["disk"] = id.into();
        Ok(volume)
    }
}
