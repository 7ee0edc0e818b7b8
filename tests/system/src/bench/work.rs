//! What is measured.

use std::{
    collections::VecDeque,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use serde_json::Value;
use stillpoint_lab::{RequestRecord, Settings, SnapshotView, host::Snapshotter, settings::Limits};
use stillpoint_loopfs::Kind;

use super::{Figures, Size, plugins::Candidate};
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
        // Seven snapshots of a disk in five minutes would be Azure's limit; the runs are closer together.
        rig.lab
            .change_settings(|settings| settings.incremental.most = 1000);
        Ok(Self { volumes, rig, size })
    }

    pub(super) fn settings(&self) -> Settings {
        self.rig.lab.settings()
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
        self.count_requests(figures);
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
        name: &'static str,
    ) -> Result<()> {
        let [total, limit, failed] = match name {
            "eight" => ["eight", "eight_to_limit", "eight_failed"],
            _ => [
                "limited_eight",
                "limited_eight_to_limit",
                "limited_eight_failed",
            ],
        };
        let plugin = candidate.start(&self.rig).await?;
        let snapshotter = candidate.open(&self.rig, &plugin).await?;
        let taken = self.snapshots(&snapshotter, self.size.volumes, 8).await;
        figures.time(total, taken.took);
        figures.set(limit, to_limit(&taken, self.size.volumes, 8));
        figures.set(failed, taken.failed as f64);
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

    /// How much longer than Azure's own time, from the PUT's arrival to Succeeded, each filesystem stood still.
    fn freezes(
        &self,
        candidate: &Candidate,
        taken: &Taken,
        run: &'static str,
        figures: &mut Figures,
    ) -> Result<()> {
        if !candidate.freezes() {
            return Ok(());
        }
        let [p50, p99, longest, crash] = match run {
            "sequence" => [
                "sequence_over_p50",
                "sequence_over_p99",
                "sequence_frozen_max",
                "sequence_crash",
            ],
            "eight" => [
                "eight_over_p50",
                "eight_over_p99",
                "eight_frozen_max",
                "eight_crash",
            ],
            "limited" => [
                "limited_over_p50",
                "limited_over_p99",
                "limited_frozen_max",
                "limited_crash",
            ],
            _ => [
                "limited_eight_over_p50",
                "limited_eight_over_p99",
                "limited_eight_frozen_max",
                "limited_eight_crash",
            ],
        };
        let (mut over, mut frozen, mut crashed) = (Vec::new(), Vec::new(), 0.0);
        for id in &taken.ids {
            let seen = self
                .rig
                .lab
                .snapshot(&id.parse()?)
                .context("a snapshot is gone")?;
            if seen.tags.get("stillpoint-consistency").map(String::as_str) != Some("filesystem") {
                crashed += 1.0;
                continue;
            }
            let stood = frozen_for(&seen)?;
            let azure = seen
                .succeeded
                .context("it never succeeded")?
                .since(&seen.accepted);
            over.push(stood.saturating_sub(azure));
            frozen.push(stood);
        }
        figures.time(p50, percentile(&mut over, 0.5));
        figures.time(p99, percentile(&mut over, 0.99));
        figures.time(longest, percentile(&mut frozen, 1.0));
        figures.set(crash, crashed);
        Ok(())
    }

    fn count_requests(&self, figures: &mut Figures) {
        let requests = self.rig.lab.requests();
        let polls = requests.iter().filter(|request| is_poll(request)).count();
        let logins = requests.iter().filter(|request| is_token(request)).count();
        let others =
            requests.len() - polls - requests.iter().filter(|request| is_login(request)).count();
        let snapshots = self.size.volumes as f64;
        figures.set("requests_a_snapshot", others as f64 / snapshots);
        figures.set("polls_a_snapshot", polls as f64 / snapshots);
        figures.set("logins", logins as f64);
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

/// A look at whether something has ended: of a snapshot, their list, an operation.
fn is_poll(request: &RequestRecord) -> bool {
    let path = request.path.to_ascii_lowercase();
    request.method == "GET"
        && ["/snapshots", "/diskoperations"]
            .iter()
            .any(|part| path.contains(part))
}

fn is_token(request: &RequestRecord) -> bool {
    request.path.ends_with("/token")
}

fn is_login(request: &RequestRecord) -> bool {
    is_token(request)
        || request.path.contains("/discovery/")
        || request.path.contains("/.well-known/")
}

fn frozen_for(snapshot: &SnapshotView) -> Result<Duration> {
    let millis = snapshot
        .tags
        .get("stillpoint-frozen-ms")
        .context("no stillpoint-frozen-ms")?;
    Ok(Duration::from_millis(millis.parse()?))
}

/// Time taken over the least that Azure allows: 1.5 s a snapshot, shared by the workers.
fn to_limit(taken: &Taken, volumes: usize, workers: usize) -> f64 {
    let azure = Settings::default().snapshot.duration.as_secs_f64();
    taken.took.as_secs_f64() / (azure * volumes.div_ceil(workers) as f64)
}

fn percentile(times: &mut [Duration], share: f64) -> Duration {
    times.sort();
    let last = times.len().saturating_sub(1);
    times
        .get((last as f64 * share).round() as usize)
        .copied()
        .unwrap_or_default()
}
