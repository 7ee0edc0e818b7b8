//! The state machine against a kernel and a ledger that enforce the real rules, on a paused clock.

use std::{
    fs::File,
    os::fd::{AsRawFd as _, OwnedFd},
};

use proptest::prelude::*;
use rustix::io::Errno;
use tokio::{runtime, time::sleep};

use super::*;
use crate::mountinfo::{Mount, MountTable};

/// Who froze the filesystem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Us,
    Other,
}

#[derive(Debug, Default)]
struct Filesystem {
    frozen: Option<Owner>,
    /// The state of its record, while there is one.
    record: Option<&'static str>,
    unmounted: bool,
    freezes: usize,
}

/// One filesystem; kernel and ledger in one, for each checks the other.
#[derive(Clone, Default)]
struct World(Arc<Mutex<Filesystem>>);

impl World {
    fn fs(&self) -> MutexGuard<'_, Filesystem> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn freezes(&self) -> Freezes {
        Freezes::new(
            Arc::new(self.clone()),
            Arc::new(self.clone()),
            Metrics::new(),
        )
    }
}

impl Kernel for World {
    fn open(&self, _: &Mount) -> Result<OwnedFd, Errno> {
        if self.fs().unmounted {
            return Err(Errno::STALE);
        }
        File::open("/dev/null")
            .map(Into::into)
            .map_err(|_| Errno::MFILE)
    }

    fn sync(&self, _: BorrowedFd<'_>) -> Result<(), Errno> {
        assert_eq!(self.fs().record, Some("intent"), "the intent comes first");
        Ok(())
    }

    fn freeze(&self, root: BorrowedFd<'_>) -> Result<(), Errno> {
        assert!(root.as_raw_fd() >= 0);
        let mut fs = self.fs();
        let recorded = matches!(fs.record, Some("freezing" | "frozen"));
        assert!(recorded, "frozen with nobody knowing: {fs:?}");
        if fs.frozen.is_some() {
            return Err(Errno::BUSY);
        }
        fs.frozen = Some(Owner::Us);
        fs.freezes += 1;
        Ok(())
    }

    fn thaw(&self, _: BorrowedFd<'_>) -> Result<(), Errno> {
        let mut fs = self.fs();
        assert_ne!(fs.frozen, Some(Owner::Other), "thawed a foreign freeze");
        fs.frozen.take().map(|_| ()).ok_or(Errno::INVAL)
    }
}

impl Ledger for World {
    fn intent(&self, _: &Target, _: &str) -> io::Result<Box<dyn Record>> {
        let before = self.fs().record.replace("intent");
        assert_eq!(before, None, "two freezes of one filesystem at once");
        Ok(Box::new(self.clone()))
    }
}

impl Record for World {
    fn freezing(&mut self, _: BorrowedFd<'_>, _: Duration) -> io::Result<()> {
        assert_eq!(self.fs().record.replace("freezing"), Some("intent"));
        Ok(())
    }

    fn frozen(&mut self) -> io::Result<()> {
        assert_eq!(self.fs().record.replace("frozen"), Some("freezing"));
        Ok(())
    }

    fn close(self: Box<Self>) {
        let mut fs = self.fs();
        assert_ne!(fs.frozen, Some(Owner::Us), "forgotten while frozen");
        assert!(fs.record.take().is_some());
    }
}

fn target() -> Target {
    let table = MountTable::parse(b"1 0 8:1 / /data rw - ext4 /dev/sdb rw\n").unwrap();
    let mount = table.by_id(1).unwrap().clone();
    Target {
        volume: "v".into(),
        mount,
    }
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[tokio::test(start_paused = true)]
async fn expired_hold_is_thawed_and_rests_as_long_as_it_was_frozen() {
    let world = World::default();
    let freezes = world.freezes();
    let lease = freezes.acquire(&target(), "h", secs(10)).await.unwrap();
    lease.over().await;
    let outcome = lease.leave().await;
    assert!(outcome.lost.unwrap().contains("10s"));
    assert_eq!(world.fs().frozen, None);
    let again = freezes.acquire(&target(), "h", secs(10)).await;
    assert!(matches!(again, Err(HoldError::Resting { .. })));
    sleep(secs(11)).await;
    let lease = freezes.acquire(&target(), "h", secs(10)).await.unwrap();
    assert_eq!(lease.leave().await.lost, None);
}

#[tokio::test(start_paused = true)]
async fn joined_freeze_keeps_the_first_limit() {
    let world = World::default();
    let freezes = world.freezes();
    let first = freezes.acquire(&target(), "1", secs(10)).await.unwrap();
    sleep(secs(4)).await;
    let second = freezes.acquire(&target(), "2", secs(60)).await.unwrap();
    let brief = freezes.acquire(&target(), "3", secs(2)).await.unwrap();
    assert_eq!(world.fs().freezes, 1);
    let deadline = first.span().unwrap().deadline;
    assert_eq!(second.deadline(), deadline);
    assert!(brief.deadline() < deadline, "its own limit is earlier");
    assert_eq!(first.leave().await.lost, None);
    brief.over().await;
    assert!(brief.leave().await.lost.is_some());
    assert_eq!(world.fs().frozen, Some(Owner::Us), "the second one stays");
    second.over().await;
    let outcome = second.leave().await;
    assert!(outcome.lost.unwrap().contains("limit"));
    assert_eq!(world.fs().frozen, None);
}

#[tokio::test(start_paused = true)]
async fn refused_freezes_leave_no_record_and_no_slot() {
    let world = World::default();
    let freezes = world.freezes();
    world.fs().frozen = Some(Owner::Other);
    let refused = freezes.acquire(&target(), "h", secs(10)).await;
    assert!(matches!(refused, Err(HoldError::Foreign { .. })));
    world.fs().frozen = None;
    world.fs().unmounted = true;
    let refused = freezes.acquire(&target(), "h", secs(10)).await;
    assert!(matches!(refused, Err(HoldError::NotMounted { .. })));
    world.fs().unmounted = false;
    assert_eq!(world.fs().record, None);
    let lease = freezes.acquire(&target(), "h", secs(10)).await.unwrap();
    drop(lease);
    freezes.stop().await;
    assert_eq!(world.fs().frozen, None);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_at_any_await_leaves_nothing() {
    let world = World::default();
    let freezes = world.freezes();
    for polls in 0..8 {
        let target = target();
        let mut acquire = Box::pin(freezes.acquire(&target, "h", secs(10)));
        for _ in 0..polls {
            if futures::poll!(&mut acquire).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    freezes.stop().await;
    let fs = world.fs();
    assert_eq!((fs.frozen, fs.record), (None, None));
}

#[tokio::test(start_paused = true)]
async fn stopping_thaws_and_refuses() {
    let world = World::default();
    let freezes = world.freezes();
    let lease = freezes.acquire(&target(), "h", secs(10)).await.unwrap();
    freezes.stop().await;
    assert_eq!(world.fs().frozen, None);
    let outcome = lease.leave().await;
    assert!(outcome.lost.unwrap().contains("stopping"));
    let refused = freezes.acquire(&target(), "h", secs(10)).await;
    assert!(matches!(refused, Err(HoldError::Stopping)));
}

#[derive(Clone, Debug)]
enum Step {
    Acquire(u64),
    Release(usize),
    Drop(usize),
    Wait(u64),
    ForeignThaw,
    ForeignFreeze,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1_u64..20).prop_map(Step::Acquire),
        2 => (0_usize..4).prop_map(Step::Release),
        1 => (0_usize..4).prop_map(Step::Drop),
        1 => (1_u64..15).prop_map(Step::Wait),
        1 => Just(Step::ForeignThaw),
        1 => Just(Step::ForeignFreeze),
    ]
}

async fn walk(steps: Vec<Step>) {
    let world = World::default();
    let freezes = world.freezes();
    // Each lease, and whether someone else thawed under it.
    let mut leases: Vec<(Lease, bool)> = Vec::new();
    for step in steps {
        match step {
            Step::Acquire(limit) => {
                if let Ok(lease) = freezes.acquire(&target(), "h", secs(limit)).await {
                    // To join what someone else has thawed is to be told so at the end.
                    let lost = world.fs().frozen.is_none();
                    leases.push((lease, lost));
                }
            }
            Step::Release(index) if index < leases.len() => {
                let (lease, lost) = leases.swap_remove(index);
                let in_time = Instant::now() < lease.deadline();
                let outcome = lease.leave().await;
                let held = in_time && !lost;
                assert_eq!(outcome.lost.is_none(), held, "{outcome:?}");
                // A dropped lease's thaw is not waited for, the last one's given back is.
                if held && leases.is_empty() {
                    assert_eq!(world.fs().frozen, None);
                }
            }
            Step::Drop(index) if index < leases.len() => drop(leases.swap_remove(index)),
            Step::Release(_) | Step::Drop(_) => {}
            Step::Wait(seconds) => sleep(secs(seconds)).await,
            Step::ForeignThaw => {
                let mut fs = world.fs();
                fs.frozen = None;
                for lease in &mut leases {
                    lease.1 = true;
                }
            }
            Step::ForeignFreeze => {
                // Within a hold of ours it could not be told from ours.
                let mut fs = world.fs();
                if fs.record.is_none() {
                    fs.frozen = Some(Owner::Other);
                }
            }
        }
    }
    drop(leases);
    freezes.stop().await;
    let fs = world.fs();
    assert_ne!(fs.frozen, Some(Owner::Us));
    assert_eq!(fs.record, None);
}

proptest! {
    #[test]
    fn whatever_happens_nothing_of_ours_stays_frozen(steps in proptest::collection::vec(step(), 0..30)) {
        runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap()
            .block_on(walk(steps));
    }
}
