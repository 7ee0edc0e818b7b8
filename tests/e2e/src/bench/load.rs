//! The writers on an application's volumes, and the watchdogs that end a freeze which does not end.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::Result;
use stillpoint_cluster::until;
use stillpoint_system::writers::Writer;
use tokio::time::interval;

use super::case::Application;
use crate::{World, world::SOON};

/// No freeze that is measured lasts as long; the longest are those of five volumes one after the other.
const STALLED: Duration = Duration::from_secs(70);
const WATCHDOG: Duration = Duration::from_secs(20);
/// Each watchdog is put off as often while its volume is written.
const EVERY: Duration = Duration::from_secs(1);
/// Writes before it counts.
const WARM: u64 = 20;

/// Running writers, by their PersistentVolume.
pub(super) struct Load(BTreeMap<String, Writer>);

impl Load {
    pub(super) async fn start(application: &Application) -> Result<Self> {
        let mut writers = BTreeMap::new();
        for volume in application.volumes() {
            writers.insert(volume.pv.clone(), Writer::blocks(&volume.path)?);
        }
        for (pv, writer) in &writers {
            until(&format!("{pv} is written"), SOON, async || {
                Ok((writer.count() > WARM).then_some(()))
            })
            .await?;
            writer.longest_stall();
        }
        Ok(Self(writers))
    }

    /// Puts the watchdogs off for as long as writers write. Ends with an error only.
    pub(super) async fn guard(&self, world: &World) -> Result<()> {
        let mut seen = BTreeMap::new();
        let mut ticks = interval(EVERY);
        loop {
            ticks.tick().await;
            for (pv, writer) in &self.0 {
                let (count, since) = seen.entry(pv).or_insert((0, Instant::now()));
                if *count != writer.count() {
                    (*count, *since) = (writer.count(), Instant::now());
                }
                if since.elapsed() < STALLED {
                    world.driver.watch(pv, WATCHDOG)?;
                }
            }
        }
    }

    /// The longest that each stood still.
    pub(super) fn stalls(&self) -> BTreeMap<String, Duration> {
        let stalls = self.0.iter();
        stalls
            .map(|(pv, writer)| (pv.clone(), writer.longest_stall()))
            .collect()
    }

    /// Ends them, and says what went wrong while they wrote.
    pub(super) fn stop(self) -> Result<()> {
        self.0.into_values().try_for_each(Writer::stop)
    }
}
