//! Faults at random moments between freeze and thaw, round after round, each repeatable by its seed.
//!
//! Rounds run in lanes. A lane is a node with volumes of every filesystem, an agent, a plugin and an Azure of its own;
//! one lane is a node of a real Kubernetes API. After each round everything that a fault broke is mended as the kubelet
//! and Velero would, and looked at: `check` has what must be true.

mod check;
mod clock;
mod faults;
mod lane;
mod link;
mod plan;
mod report;
mod round;
mod site;
mod slow;
mod volume;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;

pub use self::{faults::Fault, report::Tally};
use self::{lane::Lane, plan::Plan};
use crate::table::progress;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// So many rounds.
    pub rounds: u64,
    /// The seed of the first; each has the next.
    pub seed: u64,
    /// Nodes without Kubernetes, on which rounds run at once.
    pub lanes: usize,
    /// This fault alone.
    pub only: Option<Fault>,
}

/// Of every so many seeds one is of the node in Kubernetes.
const KUBERNETES: u64 = 10;

/// Between two lines that say how far it is.
const SHOWN: Duration = Duration::from_secs(30);

/// Seeds that are left, of one kind of lane.
struct Queue {
    next: AtomicU64,
    end: u64,
    in_kubernetes: bool,
}

impl Queue {
    fn take(&self) -> Option<u64> {
        loop {
            let seed = self.next.fetch_add(1, Relaxed);
            if seed >= self.end {
                return None;
            }
            if is_in_kubernetes(seed) == self.in_kubernetes {
                return Some(seed);
            }
        }
    }
}

fn is_in_kubernetes(seed: u64) -> bool {
    seed.is_multiple_of(KUBERNETES)
}

/// Runs the campaign.
///
/// # Errors
/// If a lane cannot be set up at all; what fails in a round is in the tally.
pub fn run(options: &Options) -> Result<Tally> {
    let begun = Instant::now();
    let tally = Arc::new(Mutex::new(Tally::default()));
    let mut lanes = Vec::new();
    let end = options.seed + options.rounds;
    let in_kubernetes = stillpoint_cluster::missing();
    if let Some(why) = &in_kubernetes {
        progress(format!("SKIPPED: rounds on a node of Kubernetes: {why}"));
    }
    for kubernetes in [true, false] {
        let queue = Arc::new(Queue {
            next: AtomicU64::new(options.seed),
            end,
            in_kubernetes: kubernetes,
        });
        let any = (options.seed..end).any(|seed| is_in_kubernetes(seed) == kubernetes);
        let many = match (kubernetes, any) {
            (_, false) => 0,
            (true, true) => usize::from(in_kubernetes.is_none()),
            (false, true) => options.lanes,
        };
        for _ in 0..many {
            let (queue, tally, only) = (queue.clone(), tally.clone(), options.only);
            lanes.push(thread::spawn(move || on_its_own(work(queue, tally, only))));
        }
    }
    let ended = Arc::new(AtomicBool::new(false));
    let shown = {
        let (tally, ended, rounds) = (tally.clone(), ended.clone(), options.rounds);
        thread::spawn(move || show(&tally, rounds, begun, &ended))
    };
    let ends: Vec<_> = lanes.into_iter().map(thread::JoinHandle::join).collect();
    ended.store(true, Relaxed);
    shown.thread().unpark();
    for end in ends {
        end.map_err(|_| anyhow::anyhow!("a lane panicked; its message is above"))??;
    }
    let mut tally = std::mem::take(&mut *locked(&tally));
    tally.took = begun.elapsed();
    Ok(tally)
}

fn locked(tally: &Mutex<Tally>) -> std::sync::MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn work(queue: Arc<Queue>, tally: Arc<Mutex<Tally>>, only: Option<Fault>) -> Result<()> {
    let mut lane = None;
    while let Some(seed) = queue.take() {
        let mut ready = match lane.take() {
            Some(lane) => lane,
            None => Lane::start(queue.in_kubernetes).await?,
        };
        let plan = Plan::of(seed, queue.in_kubernetes, only);
        let ended = round::run(&mut ready, &plan).await;
        let failed = ended.as_ref().err().map(|error| format!("{error:#}"));
        if let Some(failed) = &failed {
            let log = ready.evidence();
            progress(format!("seed {seed}: {plan}: {failed}\n{log}"));
        }
        locked(&tally).add(seed, &plan, ended, ready.slow_disk_is_missing());
        // What a failed round left would be blamed on the next.
        lane = failed.is_none().then_some(ready);
    }
    Ok(())
}

/// A lane blocks at times, but not its connections.
fn on_its_own(lane: impl Future<Output = Result<()>>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let ended = runtime.block_on(lane);
    // A task that hangs keeps nobody.
    runtime.shutdown_background();
    ended
}

fn show(tally: &Mutex<Tally>, rounds: u64, begun: Instant, ended: &AtomicBool) {
    loop {
        thread::park_timeout(SHOWN);
        if ended.load(Relaxed) {
            return;
        }
        let (done, failed) = {
            let tally = locked(tally);
            (tally.rounds(), tally.failures().len())
        };
        let seconds = begun.elapsed().as_secs();
        progress(format!(
            "{seconds} s: {done} of {rounds} rounds, {failed} failed"
        ));
    }
}

/// Counts by name.
type Counts = BTreeMap<&'static str, u64>;
