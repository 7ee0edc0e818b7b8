//! The gate: has a volume frozen before anyone can act on its VolumeSnapshotContent, and lets go when its data is fixed.
//!
//! ```text
//!  request ─► an attempt? ─► mode ─► look, make room ─► hold ─► answer: hold's ID; verdict crash, pending
//!                │ no         │ off                       │ content unknown, not frozen, too late, copy there already
//!              passes       passes                        ├ required: denied, thawed
//!                                                         └ auto: passes, thawed; verdict crash
//!  answer ─► stored, seen by our own watch ─► Succeeded ─► thaw ─► verdict: content, snapshot, Events, tags
//!                │ not within a second           │ failed, hold lost, attempt over ─► thaw ─► verdict crash
//!              thaw                              (of other drivers: handle instead of Succeeded)
//! ```
//!
//! The hold lives on its stream, so the death of the gate thaws. What it leaves on the content then says crash, and any
//! gate ends it ([`orphans`]).

mod admit;
pub(crate) mod annotations;
mod arm;
pub(crate) mod attempt;
pub mod door;
mod keep;
mod limits;
mod live;
mod metrics;
mod options;
mod orphans;
pub mod ports;
mod review;
mod settings;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use tokio_util::task::TaskTracker;

pub use self::{arm::Arm, metrics::Metrics, options::Options, settings::Settings};
use self::{
    limits::Limits,
    live::Holds,
    orphans::Told,
    ports::{Cluster, Verdict},
};
use crate::{
    config::FreezeMode,
    ports::{Holder, News, Owners},
};

/// The gate of a cluster. Clones share everything.
#[derive(Clone)]
pub struct Gate(Arc<Site>);

/// What all holds share.
struct Site {
    settings: Settings,
    holder: Arc<dyn Holder>,
    owners: Arc<dyn Owners>,
    cluster: Arc<dyn Cluster>,
    arm: Option<Arm>,
    limits: Limits,
    live: Holds,
    told: Told,
    kept: TaskTracker,
    metrics: Metrics,
}

impl Gate {
    /// A gate with these; without `arm` the word of the driver has to do.
    pub fn new(
        settings: Settings,
        holder: Arc<dyn Holder>,
        owners: Arc<dyn Owners>,
        cluster: Arc<dyn Cluster>,
        arm: Option<Arm>,
    ) -> Self {
        Self(Arc::new(Site {
            settings,
            holder,
            owners,
            cluster,
            arm,
            limits: Limits::default(),
            live: Holds::default(),
            told: Told::default(),
            kept: TaskTracker::new(),
            metrics: Metrics::new(),
        }))
    }

    /// What it counts.
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// Waits until no hold is left, for when no request comes any more.
    pub async fn drained(&self) {
        self.0.kept.close();
        self.0.kept.wait().await;
    }
}

impl Site {
    /// To those who look at the content or its snapshot, and to the owners of the volumes.
    async fn tell(&self, verdict: &Verdict) {
        if !self.cluster.tell(verdict).await {
            return;
        }
        self.metrics.told(verdict);
        self.told.remember(verdict);
        if !verdict.taken {
            return;
        }
        for volume in &verdict.volumes {
            let news = News::Taken {
                snapshot: verdict.snapshot.name.clone(),
                worth: verdict.worth.clone(),
                mode: verdict.mode.unwrap_or(FreezeMode::Auto),
            };
            self.owners.tell(volume, news);
        }
    }
}
