//! What is measured.

use std::{
    collections::VecDeque,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Result;
use serde_json::Value;
use stillpoint_lab::{Settings, host::Snapshotter, settings::Limits};
use stillpoint_loopfs::Kind;

use super::{
    Figures, Size,
    plugins::Candidate,
    tally::{self, percentile},
};
use crate::rig::{Rig, Volume, ZONE};

/// The node, its volumes and their Azure.
pub(super) struct Bench {
    // Unmounted before the rig goes.
    volumes: Vec<Volume>,
    rig: Rig,
    size: Size,
}

/// Snapshots that were taken, and how many failed.
struct Taken {
    ids: Vec<String>,
    failed: usize,
    took: Duration,
}

impl Bench {
    pub(super) async fn start(settings: Settings, size: Size) -> Result<Self> {
        // In memory: a freeze flushes the disk, and this machine's is not what is measured.
        let rig = Rig::start_in(Path::new("/dev/shm"), settings).await?;
        let mut volumes = Vec::new();
        for number in 0..size.volumes.max(size.limited) {
            volumes.push(rig.volume(&format!("disk-{number}"), Kind::Ext4)?);
        }
        Ok(Self { volumes, rig, size })
    }

    pub(super) fn limits(&self, limits: Option<Limits>) {
        self.rig
            .lab
            .change_settings(|settings| settings.limits = limits);
    }

    /// Median time from the start of the process to the answer of ListPlugins, the plugins in turn.
    pub(super) async fn discovery(
        &self,
        candidates: &[Candidate],
        figures: &mut [Figures],
    ) -> Result<()> {
        let mut times = vec![Vec::new(); candidates.len()];
        for _ in 0..self.size.starts {
            for (candidate, times) in candidates.iter().zip(&mut times) {
                let plugin = candidate.start(&self.rig).await?;
                plugin.list_plugins().await?;
                times.push(plugin.age());
                plugin.shut_down().await?;
            }
        }
        for (figures, mut times) in figures.iter_mut().zip(times) {
            figures.time("start_to_list", percentile(&mut times, 0.5));
        }
        Ok(())
    }

    pub(super) async fn sequence(
        &self,
        candidate: &Candidate,
        figures: &mut Figures,
    ) -> Result<()> {
        let plugin = candidate.start(&self.rig).await?;
        let snapshotter = candidate.open(&self.rig, &plugin).await?;
        self.rig.lab.clear_requests();
        let taken = self.snapshots(&snapshotter, self.size.volumes, 1).await;
        figures.time("sequence", taken.took);
        figures.set("sequence_to_limit", to_limit(&taken, self.size.volumes, 1));
        figures.set("sequence_failed", taken.failed as f64);
        tally::requests(&self.rig.lab, self.size.volumes, figures);
        self.freezes(candidate, &taken, "sequence", figures)?;
        let usage = plugin.usage()?;
        figures.set("peak_mib", usage.peak_resident as f64 / f64::from(1 << 20));
        figures.time(
            "cpu_a_snapshot",
            usage.cpu / u32::try_from(self.size.volumes)?,
        );
        plugin.shut_down().await?;
        Ok(())
    }

    pub(super) async fn eight(
        &self,
        candidate: &Candidate,
        figures: &mut Figures,
        name: &str,
    ) -> Result<()> {
        let plugin = candidate.start(&self.rig).await?;
        let snapshotter = candidate.open(&self.rig, &plugin).await?;
        let taken = self.snapshots(&snapshotter, self.size.volumes, 8).await;
        figures.time(name, taken.took);
        figures.set(
            &format!("{name}_to_limit"),
            to_limit(&taken, self.size.volumes, 8),
        );
        figures.set(&format!("{name}_failed"), taken.failed as f64);
        self.freezes(candidate, &taken, name, figures)?;
        if name == "eight" {
            figures.set(
                "eight_peak_mib",
                plugin.usage()?.peak_resident as f64 / f64::from(1 << 20),
            );
        }
        plugin.shut_down().await?;
        Ok(())
    }

    pub(super) async fn limited(&self, candidate: &Candidate, figures: &mut Figures) -> Result<()> {
        let plugin = candidate.start(&self.rig).await?;
        let snapshotter = candidate.open(&self.rig, &plugin).await?;
        let taken = self.snapshots(&snapshotter, self.size.limited, 50).await;
        figures.time("limited", taken.took);
        figures.set("limited_failed", taken.failed as f64);
        self.freezes(candidate, &taken, "limited", figures)?;
        plugin.shut_down().await?;
        Ok(())
    }

    /// Restores and deletes, each beside what Azure itself takes.
    pub(super) async fn restores(
        &self,
        candidate: &Candidate,
        figures: &mut Figures,
    ) -> Result<()> {
        let plugin = candidate.start(&self.rig).await?;
        let snapshotter = candidate.open(&self.rig, &plugin).await?;
        let taken = self.snapshots(&snapshotter, self.size.restores, 8).await;
        let (mut restores, mut deletes) = (Vec::new(), Vec::new());
        for snapshot in &taken.ids {
            let begun = Instant::now();
            snapshotter
                .create_volume(snapshot, "Premium_LRS", ZONE, None)
                .await?;
            restores.push(begun.elapsed());
            let begun = Instant::now();
            snapshotter.delete_snapshot(snapshot).await?;
            deletes.push(begun.elapsed());
        }
        figures.time("restore", percentile(&mut restores, 0.5));
        figures.time("delete", percentile(&mut deletes, 0.5));
        plugin.shut_down().await?;
        Ok(())
    }

    fn freezes(
        &self,
        candidate: &Candidate,
        taken: &Taken,
        run: &str,
        figures: &mut Figures,
    ) -> Result<()> {
        if candidate.freezes() {
            tally::freezes(&self.rig.lab, &taken.ids, run, figures)?;
        }
        Ok(())
    }

    /// Snapshots of the first `count` volumes by that many workers, as a backup takes them.
    async fn snapshots(&self, snapshotter: &Snapshotter, count: usize, workers: usize) -> Taken {
        let queue: VecDeque<_> = self
            .volumes
            .iter()
            .take(count)
            .map(Volume::persistent_volume)
            .collect();
        let queue = Arc::new(Mutex::new(queue));
        let begun = Instant::now();
        let workers: Vec<_> = (0..workers)
            .map(|_| tokio::spawn(work(snapshotter.clone(), Arc::clone(&queue))))
            .collect();
        let mut taken = Taken {
            ids: Vec::new(),
            failed: 0,
            took: Duration::ZERO,
        };
        for worker in workers {
            let (ids, failed) = worker.await.unwrap_or((Vec::new(), count));
            taken.ids.extend(ids);
            taken.failed += failed;
        }
        taken.took = begun.elapsed();
        taken
    }
}

async fn work(
    snapshotter: Snapshotter,
    queue: Arc<Mutex<VecDeque<Value>>>,
) -> (Vec<String>, usize) {
    let (mut taken, mut failed) = (Vec::new(), 0);
    loop {
        let next = queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front();
        let Some(pv) = next else {
            return (taken, failed);
        };
        let tags = [("velero.io/backup", "bench"), ("velero.io/pv", "pvc")];
        let snapshot = async {
            let volume = snapshotter.volume_id(&pv).await?.unwrap_or_default();
            snapshotter.volume_info(&volume, ZONE).await?;
            snapshotter.create_snapshot(&volume, ZONE, &tags).await
        };
        match snapshot.await {
            Ok(id) => taken.push(id),
            Err(status) => {
                if failed == 0 {
                    eprintln!(
                        "failed: {}",
                        status.message().lines().next().unwrap_or_default()
                    );
                }
                failed += 1;
            }
        }
    }
}

/// Time taken over the least that Azure allows: 1.5 s a snapshot, shared by the workers.
fn to_limit(taken: &Taken, volumes: usize, workers: usize) -> f64 {
    let azure = Settings::default().snapshot.duration.as_secs_f64();
    taken.took.as_secs_f64() / (azure * volumes.div_ceil(workers) as f64)
}
