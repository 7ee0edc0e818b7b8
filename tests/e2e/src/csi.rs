//! CSI snapshots: the real snapshot-controller and csi-snapshotter, and behind them Azure's real driver or what stands
//! in for it.

mod azure_disk;
pub mod objects;
mod record;
mod stand_in;

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Result;
use stillpoint_cluster::{Cluster, Companion};
use stillpoint_lab::Lab;
use stillpoint_system::programs;

pub use record::Record;
use stand_in::StandIn;

/// Where the driver makes snapshots.
const LOCATION: &str = "westeurope";

/// Which program makes the snapshots in Azure.
#[derive(Clone, Debug)]
pub enum Maker {
    /// What stands in for the driver. It looks every so often for the end of what it began; the driver does every 5 s.
    StandIn(Duration),
    /// azuredisk-csi-driver, this program. It knows the public cloud only: the world has to be of [`Cloud::Public`].
    ///
    /// [`Cloud::Public`]: crate::Cloud::Public
    AzureDisk(PathBuf),
}

impl Maker {
    /// The driver that the environment variable `AZUREDISK_PLUGIN` names, if it does.
    pub fn azure_disk() -> Result<Option<Self>> {
        Ok(programs::azure_disk()?.map(Self::AzureDisk))
    }
}

/// The programs between a VolumeSnapshot and Azure. Dropped in this order, before their cluster.
#[derive(Debug)]
pub struct Snapshots {
    /// snapshot-controller: makes a VolumeSnapshotContent for each VolumeSnapshot.
    pub controller: Companion,
    /// csi-snapshotter: has the driver make a snapshot for each VolumeSnapshotContent.
    pub sidecar: Companion,
    driver: Driver,
}

#[derive(Debug)]
enum Driver {
    StandIn(StandIn),
    AzureDisk(Companion),
}

impl Snapshots {
    /// Makes snapshots known to the cluster, with a class that Velero finds, and starts all.
    pub(crate) async fn start(cluster: &Cluster, lab: &Arc<Lab>, maker: &Maker) -> Result<Self> {
        let controller = cluster.start_snapshot_controller().await?;
        cluster.apply_yaml(objects::CLASS).await?;
        let socket = cluster.directory().join("csi.sock");
        let driver = match maker {
            Maker::StandIn(poll) => {
                let mut driver = StandIn::new(lab, &socket, *poll);
                driver.start()?;
                Driver::StandIn(driver)
            }
            Maker::AzureDisk(program) => {
                Driver::AzureDisk(azure_disk::start(cluster, lab, program, &socket).await?)
            }
        };
        Ok(Self {
            controller,
            sidecar: cluster.start_csi_snapshotter(&socket).await?,
            driver,
        })
    }

    /// Kills the driver in the middle of what it does. The sidecar ends when it sees that.
    pub fn kill_driver(&mut self) {
        match &mut self.driver {
            Driver::StandIn(driver) => driver.kill(),
            Driver::AzureDisk(driver) => driver.kill(),
        }
    }

    /// Starts driver and sidecar, again if they still run.
    pub async fn start_driver(&mut self) -> Result<()> {
        self.sidecar.kill();
        match &mut self.driver {
            Driver::StandIn(driver) => driver.start()?,
            Driver::AzureDisk(driver) => driver.start().await?,
        }
        self.sidecar.start().await
    }

    /// What all of them have logged.
    pub fn log(&self) -> String {
        let mut log = self.controller.log() + &self.sidecar.log();
        if let Driver::AzureDisk(driver) = &self.driver {
            log += &driver.log();
        }
        log
    }
}
