//! How many requests may be sent: one budget per subscription, shared by all locations of an identity.
//!
//! Three ways to spend it: ordinary requests queue for what is not reserved; what follows a cut (tags, delete)
//! may use what is reserved for it; the cut itself and the polls for its end never wait here, since
//! [`Budget::reserve`] kept room for them before the freeze.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use http::HeaderMap;
use tokio::{sync::Notify, time::Instant};

use super::{
    bucket::{Bucket, Kind},
    transport::lock,
};

/// One snapshot's share: of polls (they are shared), and its PUT and PATCH.
const READS: f64 = 4.0;
const WRITES: f64 = 2.0;
/// The model is looked at again at least that often: headers correct it.
const LOOK: Duration = Duration::from_millis(100);

/// The budget of one subscription.
#[derive(Debug)]
pub(super) struct Budget {
    buckets: Mutex<[Bucket; 3]>,
    queues: [tokio::sync::Mutex<()>; 3],
    reservations: tokio::sync::Mutex<()>,
    freed: Notify,
}

/// Room for one cut; given back when dropped.
#[must_use]
#[derive(Debug)]
pub(super) struct Room(Arc<Budget>);

impl Drop for Room {
    fn drop(&mut self) {
        self.0.with(Kind::Read, |bucket| bucket.give_back(READS));
        self.0.with(Kind::Write, |bucket| bucket.give_back(WRITES));
        self.0.freed.notify_waiters();
    }
}

impl Budget {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self {
            buckets: Mutex::new(
                [Kind::Read, Kind::Write, Kind::Delete].map(|kind| Bucket::new(kind, now)),
            ),
            queues: Default::default(),
            reservations: tokio::sync::Mutex::default(),
            freed: Notify::new(),
        }
    }

    fn with<T>(&self, kind: Kind, act: impl FnOnce(&mut Bucket) -> T) -> T {
        let mut buckets = lock(&self.buckets);
        act(&mut buckets[index(kind)])
    }

    /// Waits in line for one request of that kind. The caller bounds the time.
    pub(super) async fn acquire(&self, kind: Kind) {
        let _in_line = self.queues[index(kind)].lock().await;
        self.wait_and_take(kind, true).await;
    }

    /// As [`Self::acquire`] but out of line: it was reserved for.
    pub(super) async fn acquire_reserved(&self, kind: Kind) {
        self.wait_and_take(kind, false).await;
    }

    async fn wait_and_take(&self, kind: Kind, free: bool) {
        loop {
            let wait = self.with(kind, |bucket| {
                let wait = bucket.wait_for(1.0, free, Instant::now());
                if wait.is_zero() {
                    bucket.take(Instant::now());
                }
                wait
            });
            if wait.is_zero() {
                return;
            }
            self.pause(wait).await;
        }
    }

    /// One request of that kind, whatever is left.
    pub(super) fn take(&self, kind: Kind) {
        self.with(kind, |bucket| bucket.take(Instant::now()));
    }

    /// Keeps room for one cut, in line behind those who asked before.
    pub(super) async fn reserve(self: &Arc<Self>) -> Room {
        let _in_line = self.reservations.lock().await;
        loop {
            let wait = {
                let mut buckets = lock(&self.buckets);
                let now = Instant::now();
                let reads = buckets[index(Kind::Read)].wait_for(READS, true, now);
                let writes = buckets[index(Kind::Write)].wait_for(WRITES, true, now);
                let wait = reads.max(writes);
                if wait.is_zero() {
                    buckets[index(Kind::Read)].reserve(READS);
                    buckets[index(Kind::Write)].reserve(WRITES);
                }
                wait
            };
            if wait.is_zero() {
                return Room(self.clone());
            }
            self.pause(wait).await;
        }
    }

    async fn pause(&self, wait: Duration) {
        let wait = wait.clamp(Duration::from_millis(1), LOOK);
        tokio::select! {
            () = self.freed.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }

    /// From 0, nothing left, to 1.
    pub(super) fn fill(&self, kind: Kind) -> f64 {
        self.with(kind, |bucket| bucket.fill(Instant::now()))
    }

    /// How long until one more poll fits, reserved or not.
    pub(super) fn wait_to_poll(&self) -> Duration {
        self.with(Kind::Read, |bucket| bucket.wait_to_poll(Instant::now()))
    }

    /// A request goes out.
    pub(super) fn sent(self: &Arc<Self>, kind: Kind) -> UnderWay {
        self.with(kind, Bucket::sent);
        UnderWay {
            budget: self.clone(),
            kind,
        }
    }
}

/// A request that was sent and not answered yet.
#[derive(Debug)]
pub(super) struct UnderWay {
    budget: Arc<Budget>,
    kind: Kind,
}

impl UnderWay {
    /// Its answer: status and headers.
    pub(super) fn answered(self, status: u16, headers: &HeaderMap) {
        let (budget, kind) = (self.budget.clone(), self.kind);
        drop(self);
        budget.with(kind, |bucket| {
            bucket.answered(headers, Instant::now());
            if status == 429 {
                bucket.throttled(super::failure::retry_after(headers), Instant::now());
            }
        });
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.budget.with(self.kind, Bucket::ended);
    }
}

fn index(kind: Kind) -> usize {
    match kind {
        Kind::Read => 0,
        Kind::Write => 1,
        Kind::Delete => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn holds_at_once_are_capped_by_the_reads_left() {
        let budget = Arc::new(Budget::new());
        let mut rooms = Vec::new();
        let begun = Instant::now();
        while rooms.len() < 62 {
            rooms.push(budget.reserve().await);
        }
        assert!(begun.elapsed() < LOOK, "62 of 4 reads fit into 250");
        for _ in 0..200 {
            budget.take(Kind::Read);
        }
        let blocked = tokio::time::timeout(Duration::from_secs(1), budget.reserve()).await;
        assert!(blocked.is_err(), "the next has to wait");
        rooms.clear();
        let _room = tokio::time::timeout(Duration::from_secs(1), budget.reserve())
            .await
            .unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn ordinary_requests_leave_what_is_reserved() {
        let budget = Arc::new(Budget::new());
        let _room = budget.reserve().await;
        for _ in 0..198 {
            budget.acquire(Kind::Write).await;
        }
        let begun = Instant::now();
        budget.acquire_reserved(Kind::Write).await;
        assert!(
            begun.elapsed() < Duration::from_millis(10),
            "its own PATCH does not wait"
        );
        budget.acquire(Kind::Write).await;
        assert!(
            begun.elapsed() >= Duration::from_millis(90),
            "another's does"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_429_holds_everybody_back_for_its_time() {
        let budget = Arc::new(Budget::new());
        let headers: HeaderMap = [(
            http::header::RETRY_AFTER,
            http::HeaderValue::from_static("5"),
        )]
        .into_iter()
        .collect();
        budget.sent(Kind::Write).answered(429, &headers);
        let begun = Instant::now();
        let _room = budget.reserve().await;
        assert!(begun.elapsed() >= Duration::from_secs(5));
    }
}
