//! The demo's steps: busy volumes, snapshots of them, and what a restore finds; a backup's objects.

mod backup;
mod report;

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result};
use serde_json::Value;
use stillpoint_lab::{SnapshotView, host::Snapshotter};
use stillpoint_loopfs::{Kind, Mounted};

pub use backup::Backup;
pub use report::report;

use crate::{
    inspect::{self, Journal},
    rig::{Rig, Volume, ZONE},
    writers::{self, Files, Writer},
};

/// A volume with two writers on it.
#[derive(Debug)]
pub struct Busy {
    volume: Volume,
    files: Writer,
    sqlite: Writer,
}

/// A snapshot that was taken while they wrote.
#[derive(Debug)]
pub struct Shot {
    seen: SnapshotView,
    stall: Duration,
    /// Files that were there before it began.
    files_before: u64,
}

/// A snapshot, and the disk that was made from it.
#[derive(Debug)]
pub struct Examined {
    kind: Kind,
    shot: Shot,
    journal: Journal,
    files: Files,
    sqlite: Result<String, String>,
    disk: String,
    zone: String,
    persistent_volume: Value,
    mounted: Result<Files, String>,
}

impl Busy {
    /// Makes a disk with that filesystem and lets SQLite and a file writer work on it.
    pub fn start(rig: &Rig, kind: Kind) -> Result<Self> {
        let volume = rig.volume(&format!("shop-{kind}"), kind)?;
        let files = Writer::files(volume.path())?;
        let sqlite = Writer::sqlite(volume.path())?;
        Ok(Self {
            volume,
            files,
            sqlite,
        })
    }

    /// Waits until there is something to lose.
    pub async fn until_warm(&self) {
        while self.files.count() < 200 || self.sqlite.count() < 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Takes a snapshot as a Velero backup does, and measures the writers' longest stall meanwhile.
    pub async fn snapshot(&self, rig: &Rig, snapshotter: &Snapshotter) -> Result<Shot> {
        let pv = self.volume.persistent_volume();
        let volume = snapshotter
            .volume_id(&pv)
            .await?
            .context("the plugin does not know the PV")?;
        snapshotter.volume_info(&volume, ZONE).await?;
        self.stall();
        let files_before = self.files.count();
        let tags = [("velero.io/backup", "demo"), ("velero.io/pv", "pvc")];
        let snapshot = snapshotter.create_snapshot(&volume, ZONE, &tags).await?;
        // The write that waited for the thaw must have ended to be counted.
        self.volume.write_something()?;
        tokio::time::sleep(Duration::from_millis(50)).await;
        let seen = rig
            .lab
            .snapshot(&snapshot.parse()?)
            .context("the snapshot is gone")?;
        Ok(Shot {
            seen,
            stall: self.stall(),
            files_before,
        })
    }

    fn stall(&self) -> Duration {
        self.files.longest_stall().max(self.sqlite.longest_stall())
    }

    /// Ends the writers.
    pub fn stop(self) -> Result<()> {
        self.files.stop()?;
        self.sqlite.stop()
    }
}

impl Examined {
    /// Makes a disk from the snapshot as a Velero restore does, looks at it before anything repairs it, then mounts
    /// it as a node would.
    pub async fn restore(
        rig: &Rig,
        snapshotter: &Snapshotter,
        busy: &Busy,
        shot: Shot,
    ) -> Result<Self> {
        let (kind, snapshot) = (busy.volume.kind, shot.seen.id.to_string());
        let disk = snapshotter
            .create_volume(&snapshot, "Premium_LRS", ZONE, None)
            .await?;
        let pv = busy.volume.persistent_volume();
        let persistent_volume = snapshotter.set_volume_id(&pv, &disk).await?;
        let disk = disk.parse()?;
        let shown = rig.lab.disk(&disk).context("the restored disk is gone")?;
        let zone = shown["zones"][0].as_str().unwrap_or("none").to_owned();

        let image = rig.lab.copy_of(&disk)?;
        let journal = inspect::journal(&image, kind)?;
        let (files, sqlite) = look(rig, &image, kind)?;
        let image = rig
            .lab
            .disk_file(&disk)
            .context("the restored disk is gone")?;
        let mounted = Mounted::image(&image, &rig.scratch().join("restored"), nouuid(kind))
            .map(|mounted| writers::check_files(mounted.path()))
            .map_err(|error| format!("{error:#}"));
        let disk = disk.name.clone();
        Ok(Self {
            kind,
            shot,
            journal,
            files,
            sqlite,
            disk,
            zone,
            persistent_volume,
            mounted,
        })
    }
}

/// The original is mounted on this same machine; on a cluster it is not.
fn nouuid(kind: Kind) -> &'static str {
    if kind == Kind::Xfs { "nouuid" } else { "" }
}

fn look(rig: &Rig, image: &Path, kind: Kind) -> Result<(Files, Result<String, String>)> {
    let mounted = inspect::mount_as_is(image, kind, &rig.scratch().join("copy"))?;
    let files = writers::check_files(mounted.path());
    let sqlite = writers::check_sqlite(mounted.path(), rig.scratch());
    Ok((files, sqlite.map_err(|error| error.to_string())))
}
