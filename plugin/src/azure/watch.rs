//! Who waits for which snapshot's data to be fixed. Its filesystem stands still meanwhile.
//!
//! ```text
//! cut ──► accepted ──► fixed: waiter of its group ──► one poller per group ──► answer, waiter gone
//!                                                     (ends with its last waiter)
//! ```

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};
use url::Url;

use super::{
    core::Core,
    pace::{self, Pace},
    poller,
    transport::lock,
};
use crate::{
    model::{ResourceGroup, Snapshot, SnapshotId},
    ports::AzureError,
};

/// What is remembered of a cut that nobody waited for.
const FORGOTTEN: Duration = Duration::from_secs(600);
/// A list may be older than the resource itself: after so many, the resource is asked.
const LISTS: u32 = 8;
/// So many are asked for one by one.
const FEW: usize = 4;
/// More waiters than these share the budget: their polls add up.
const CROWD: usize = 8;
/// Between two questions why a snapshot does not appear.
const ABSENCE: Duration = Duration::from_millis(250);

type Answer = Result<Snapshot, AzureError>;

/// All waiters.
#[derive(Debug, Default)]
pub(super) struct Watch {
    groups: Mutex<HashMap<ResourceGroup, Group>>,
    accepted: Mutex<HashMap<SnapshotId, Accepted>>,
    pub(super) pace: Pace,
}

#[derive(Debug, Default)]
struct Group {
    waiters: Vec<Waiter>,
    /// Lists in a row.
    lists: u32,
    wake: Arc<Notify>,
}

/// What is known of a cut since its PUT.
#[derive(Clone, Debug)]
pub(super) struct Accepted {
    /// When the PUT was sent.
    pub(super) sent: Instant,
    /// Where its operation can be asked for.
    pub(super) operation: Option<Url>,
}

#[derive(Debug)]
struct Waiter {
    id: SnapshotId,
    accepted: Accepted,
    /// It was still running so long after the PUT.
    least: Duration,
    next: Instant,
    asked_why: Option<Instant>,
    /// Its operation is being asked why it failed.
    failed: bool,
    answer: oneshot::Sender<Answer>,
}

/// What is to be asked next in a group.
pub(super) enum Due {
    /// Nobody waits any more; the group is closed.
    Nobody,
    /// Not before then.
    At(Instant),
    /// These, one by one.
    Each(Vec<SnapshotId>),
    /// The whole group, for these.
    List(Vec<SnapshotId>),
}

impl Watch {
    /// A PUT was sent then, and answered or not.
    pub(super) fn accepted(&self, id: &SnapshotId, sent: Instant, operation: Option<Url>) {
        let mut accepted = lock(&self.accepted);
        accepted.retain(|_, cut| cut.sent.elapsed() < FORGOTTEN);
        accepted.insert(id.clone(), Accepted { sent, operation });
    }

    /// Waits for one snapshot.
    pub(super) async fn fixed(core: &Arc<Core>, id: &SnapshotId) -> Answer {
        let watch = &core.watch;
        let now = Instant::now();
        let known = lock(&watch.accepted).get(id).cloned();
        let accepted = known.unwrap_or(Accepted {
            sent: now,
            operation: None,
        });
        let fill = core
            .budget(&id.group.subscription)
            .fill(super::bucket::Kind::Read);
        let first = accepted.sent + watch.pace.next(accepted.sent.elapsed(), fill);
        let (answer, answered) = oneshot::channel();
        let waiter = Waiter {
            id: id.clone(),
            // A wait that begins late looks at once.
            next: if first < now { now } else { first },
            accepted,
            least: Duration::ZERO,
            asked_why: None,
            failed: false,
            answer,
        };
        {
            let mut groups = lock(&watch.groups);
            if let Some(group) = groups.get_mut(&id.group) {
                group.waiters.push(waiter);
                group.wake.notify_one();
            } else {
                let group = Group {
                    waiters: vec![waiter],
                    lists: 0,
                    wake: Arc::default(),
                };
                let wake = group.wake.clone();
                groups.insert(id.group.clone(), group);
                tokio::spawn(poller::run(core.clone(), id.group.clone(), wake));
            }
        }
        let answer = answered.await.unwrap_or_else(|_| {
            Err(AzureError::Unanswered {
                resource: id.to_string(),
                message: "the poller ended".to_owned(),
                after: now.elapsed(),
            })
        });
        lock(&watch.accepted).remove(id);
        answer
    }

    /// What to ask now, and will be asked; a list costs as much as `pages` single requests.
    pub(super) fn due(&self, group: &ResourceGroup, pages: usize, slack: Duration) -> Due {
        let mut groups = lock(&self.groups);
        let Some(state) = groups.get_mut(group) else {
            return Due::Nobody;
        };
        state.waiters.retain(|waiter| !waiter.answer.is_closed());
        let now = Instant::now();
        let Some(next) = state.waiters.iter().map(|waiter| waiter.next).min() else {
            groups.remove(group);
            return Due::Nobody;
        };
        if next > now {
            return Due::At(next);
        }
        // Those that would be next anyway share the request.
        let due: Vec<_> = state
            .waiters
            .iter()
            .filter(|waiter| waiter.next <= now + slack)
            .map(|waiter| waiter.id.clone())
            .collect();
        // A list is big and slow to read: a few single answers come sooner, where the budget allows.
        let few = if slack <= pace::NEAR { FEW } else { 1 };
        if due.len() <= pages.max(few) {
            return Due::Each(due);
        }
        state.lists += 1;
        if state.lists > LISTS {
            state.lists = 0;
            let oldest = state
                .waiters
                .iter()
                .min_by_key(|waiter| waiter.accepted.sent);
            return Due::Each(oldest.map(|waiter| waiter.id.clone()).into_iter().collect());
        }
        Due::List(
            state
                .waiters
                .iter()
                .map(|waiter| waiter.id.clone())
                .collect(),
        )
    }

    /// How full a budget may count in that group.
    pub(super) fn share(&self, group: &ResourceGroup) -> f64 {
        let groups = lock(&self.groups);
        let waiters = groups.get(group).map_or(0, |group| group.waiters.len());
        if waiters > CROWD { pace::CROWDED } else { 1.0 }
    }

    /// These are being asked for now.
    pub(super) fn asked(&self, ids: &[SnapshotId], fill: f64) {
        self.each(ids, |waiter| {
            waiter.next = Instant::now() + self.pace.next(waiter.accepted.sent.elapsed(), fill);
        });
    }

    /// It was still running when it was asked for.
    pub(super) fn running(&self, id: &SnapshotId, asked: Instant) {
        self.each(std::slice::from_ref(id), |waiter| {
            let ran = asked.saturating_duration_since(waiter.accepted.sent);
            waiter.least = waiter.least.max(ran);
        });
    }

    /// It is not there (yet). Its operation, if it is time to ask that why.
    pub(super) fn absent(&self, id: &SnapshotId) -> Option<Url> {
        let mut operation = None;
        self.each(std::slice::from_ref(id), |waiter| {
            if waiter
                .asked_why
                .is_none_or(|asked| asked.elapsed() >= ABSENCE)
            {
                waiter.asked_why = Some(Instant::now());
                operation.clone_from(&waiter.accepted.operation);
            }
        });
        operation
    }

    /// It has failed: its operation, to be asked why. `None` to the polls that see the same meanwhile, else they would
    /// answer before the reason is known.
    pub(super) fn failed(&self, id: &SnapshotId) -> Option<Option<Url>> {
        let mut first = None;
        self.each(std::slice::from_ref(id), |waiter| {
            if !std::mem::replace(&mut waiter.failed, true) {
                first = Some(waiter.accepted.operation.clone());
            }
        });
        first
    }

    /// Answers all who wait for it.
    pub(super) fn finish(&self, id: &SnapshotId, answer: impl Fn() -> Answer) {
        let finished: Vec<Waiter> = {
            let mut groups = lock(&self.groups);
            let Some(group) = groups.get_mut(&id.group) else {
                return;
            };
            group.wake.notify_one();
            group
                .waiters
                .extract_if(.., |waiter| waiter.id == *id)
                .collect()
        };
        for waiter in finished {
            let answer = answer();
            if answer.is_ok() && !waiter.least.is_zero() {
                self.pace
                    .learn(waiter.least, waiter.accepted.sent.elapsed());
            }
            let _ = waiter.answer.send(answer);
        }
    }

    fn each(&self, ids: &[SnapshotId], mut act: impl FnMut(&mut Waiter)) {
        let mut groups = lock(&self.groups);
        for id in ids {
            let Some(group) = groups.get_mut(&id.group) else {
                continue;
            };
            group
                .waiters
                .iter_mut()
                .filter(|waiter| waiter.id == *id)
                .for_each(&mut act);
        }
    }
}
