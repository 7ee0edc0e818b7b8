//! A volume that is written to all the time, and how long writes to it stand still.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt as _,
    path::Path,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};

use super::slow::Throttle;
use crate::rig::Volume;

const PACE: Duration = Duration::from_millis(10);
/// Files that come and go.
const FILES: u64 = 8;
/// Between two looks whether a write has come through.
const LOOK: Duration = Duration::from_millis(5);
/// For writers that are told to end.
const ENDS_WITHIN: Duration = Duration::from_secs(2);

/// The volume and its writers.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) volume: Volume,
    pub(super) throttle: Option<Throttle>,
    /// Until then it cannot be frozen.
    pub(super) rests: Instant,
    pace: Arc<Pace>,
}

#[derive(Debug)]
struct Pace {
    stop: AtomicBool,
    /// When the write under way began, in microseconds since `begun`.
    since: AtomicU64,
    writes: AtomicU64,
    longest: AtomicU64,
    begun: Instant,
    /// Why there are no more writes.
    failed: OnceLock<io::Error>,
}

impl Pace {
    fn now(&self) -> u64 {
        micros(self.begun.elapsed())
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl Written {
    pub(super) fn start(volume: Volume) -> Result<Self> {
        let throttle = Throttle::of(&volume.mounts.staged.device()?)?;
        let pace = Arc::new(Pace {
            stop: AtomicBool::new(false),
            since: AtomicU64::new(0),
            writes: AtomicU64::new(0),
            longest: AtomicU64::new(0),
            begun: Instant::now(),
            failed: OnceLock::new(),
        });
        measure(volume.path(), pace.clone())?;
        change(volume.path(), pace.clone())?;
        Ok(Self {
            volume,
            throttle,
            rests: Instant::now(),
            pace,
        })
    }

    /// Nothing counts that was before.
    pub(super) fn forget(&self) {
        self.pace.longest.store(0, Relaxed);
    }

    /// The longest that a write took since, the one under way included.
    pub(super) fn longest(&self) -> Duration {
        let under_way = self
            .pace
            .now()
            .saturating_sub(self.pace.since.load(Relaxed));
        Duration::from_micros(self.pace.longest.load(Relaxed).max(under_way))
    }

    /// Waits until writes come through.
    pub(super) async fn is_thawed(&self, within: Duration) -> Result<()> {
        let (begun, before) = (Instant::now(), self.pace.writes.load(Relaxed));
        // The first may have begun before.
        while self.pace.writes.load(Relaxed) < before + 2 {
            if let Some(error) = self.pace.failed.get() {
                bail!("{} takes no writes: {error}", self.volume.id.name);
            }
            ensure!(
                begun.elapsed() < within,
                "{} is frozen",
                self.volume.id.name
            );
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        self.pace.stop.store(true, Relaxed);
        // With its files open the volume cannot be unmounted; on a frozen one they stay so.
        let begun = Instant::now();
        while Arc::strong_count(&self.pace) > 1 && begun.elapsed() < ENDS_WITHIN {
            thread::sleep(LOOK);
        }
    }
}

/// Writes into the page cache, which only a freeze stops for long.
fn measure(directory: &Path, pace: Arc<Pace>) -> Result<()> {
    let file = File::create(directory.join("measure"))?;
    thread::spawn(move || {
        while !pace.stop.load(Relaxed) {
            let begun = pace.now();
            pace.since.store(begun, Relaxed);
            let number = pace.writes.load(Relaxed);
            if let Err(error) = file.write_all_at(&number.to_ne_bytes(), 0) {
                let _ = pace.failed.set(error);
                return;
            }
            let took = pace.now().saturating_sub(begun);
            pace.longest.fetch_max(took, Relaxed);
            pace.writes.store(number + 1, Relaxed);
            thread::sleep(PACE);
            // It is awake again: what comes now is the write's.
            pace.since.store(pace.now(), Relaxed);
        }
    });
    Ok(())
}

/// Changes what only a journal or a log tree makes whole after a crash.
fn change(directory: &Path, pace: Arc<Pace>) -> Result<()> {
    let directory = directory.join("files");
    fs::create_dir_all(&directory)?;
    let step = move |number: u64| {
        let (new, kept) = (
            directory.join("new"),
            directory.join(format!("{}", number % FILES)),
        );
        let file = File::create(&new)?;
        file.write_all_at(&[number as u8; 8 << 10], 0)?;
        file.sync_all()?;
        fs::rename(new, kept)
    };
    thread::spawn(move || {
        let mut number = 0;
        while !pace.stop.load(Relaxed) && step(number).is_ok() {
            number += 1;
            thread::sleep(PACE * 3);
        }
    });
    Ok(())
}
