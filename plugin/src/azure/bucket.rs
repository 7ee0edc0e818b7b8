//! One request bucket of the resource manager, as far as it can be known from outside.
//!
//! Source: <https://learn.microsoft.com/azure/azure-resource-manager/management/request-limits-and-throttling>:
//! per subscription and principal, reads 250 refilled 25 a second, writes and deletes 200 refilled 10 a second.
//! The `x-ms-ratelimit-remaining-*` headers correct the model: others use the subscription too.

use std::time::Duration;

use http::HeaderMap;
use tokio::time::Instant;

/// What a request counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Read,
    Write,
    Delete,
}

impl Kind {
    /// As the headers spell it.
    fn name(self) -> &'static str {
        match self {
            Self::Read => "reads",
            Self::Write => "writes",
            Self::Delete => "deletes",
        }
    }
}

/// After so many answers without any header nobody counts here.
const SILENT_ANSWERS: u32 = 3;
/// The disk provider's own limits are few and slow; its headers count for so long.
const PROVIDER_MEMORY: Duration = Duration::from_secs(15);
/// Below that many, requests are spread.
const PROVIDER_SCARCE: f64 = 50.0;

/// The model of one bucket.
#[derive(Debug)]
pub(super) struct Bucket {
    kind: Kind,
    capacity: f64,
    rate: f64,
    tokens: f64,
    at: Instant,
    reserved: f64,
    in_flight: u32,
    blocked_until: Option<Instant>,
    counted: Counted,
    provider: Option<(f64, Instant)>,
}

/// Whether anybody counts requests.
#[derive(Debug, PartialEq, Eq)]
enum Counted {
    Unknown(u32),
    Yes,
}

impl Bucket {
    pub(super) fn new(kind: Kind, now: Instant) -> Self {
        let (capacity, rate) = match kind {
            Kind::Read => (250.0, 25.0),
            Kind::Write | Kind::Delete => (200.0, 10.0),
        };
        Self {
            kind,
            capacity,
            rate,
            tokens: capacity,
            at: now,
            reserved: 0.0,
            in_flight: 0,
            blocked_until: None,
            counted: Counted::Unknown(0),
            provider: None,
        }
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + passed * self.rate).min(self.capacity);
        self.at = now;
    }

    fn is_uncounted(&self) -> bool {
        matches!(self.counted, Counted::Unknown(answers) if answers >= SILENT_ANSWERS)
    }

    /// How long until `need` requests can be sent; with `free`, without touching what is reserved.
    pub(super) fn wait_for(&mut self, need: f64, free: bool, now: Instant) -> Duration {
        self.refill(now);
        let blocked = [self.blocked_until, self.provider_blocks_until()]
            .into_iter()
            .flatten()
            .map(|until| until.saturating_duration_since(now))
            .max()
            .unwrap_or_default();
        if self.is_uncounted() {
            return blocked;
        }
        let there = if free {
            self.tokens - self.reserved
        } else {
            self.tokens
        };
        let missing = Duration::from_secs_f64(((need - there) / self.rate).max(0.0));
        missing.max(blocked)
    }

    /// How long until one more poll fits; a 429's Retry-After is the poller's own affair.
    pub(super) fn wait_to_poll(&mut self, now: Instant) -> Duration {
        self.refill(now);
        if self.is_uncounted() {
            return Duration::ZERO;
        }
        Duration::from_secs_f64(((1.0 - self.tokens) / self.rate).max(0.0))
    }

    /// The provider said that this was the last one; how fast it refills it does not say.
    fn provider_blocks_until(&self) -> Option<Instant> {
        self.provider
            .filter(|(left, _)| *left < 1.0)
            .map(|(_, at)| at + Duration::from_secs(1))
    }

    /// One request is sent.
    pub(super) fn take(&mut self, now: Instant) {
        self.refill(now);
        self.tokens = (self.tokens - 1.0).max(0.0);
    }

    pub(super) fn reserve(&mut self, count: f64) {
        self.reserved += count;
    }

    pub(super) fn give_back(&mut self, count: f64) {
        self.reserved = (self.reserved - count).max(0.0);
    }

    /// From 0, nothing left, to 1.
    pub(super) fn fill(&mut self, now: Instant) -> f64 {
        self.refill(now);
        if self.blocked_until.is_some_and(|until| until > now) {
            return 0.0;
        }
        let principal = if self.is_uncounted() {
            1.0
        } else {
            self.tokens / self.capacity
        };
        match self.provider {
            Some((left, at)) if now.saturating_duration_since(at) < PROVIDER_MEMORY => {
                principal.min(left / PROVIDER_SCARCE)
            }
            _ => principal,
        }
    }

    pub(super) fn sent(&mut self) {
        self.in_flight += 1;
    }

    /// Its end without an answer.
    pub(super) fn ended(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// What an answer's headers say.
    pub(super) fn answered(&mut self, headers: &HeaderMap, now: Instant) {
        self.refill(now);
        if let Some(left) = provider_left(headers) {
            self.provider = Some((left, now));
        }
        let Some(left) = self.remaining(headers) else {
            if let Counted::Unknown(answers) = &mut self.counted {
                *answers = answers.saturating_add(1);
            }
            return;
        };
        self.counted = Counted::Yes;
        // Some subscriptions are still counted by the hour, in thousands.
        self.capacity = self.capacity.max(left);
        // Those still under way are not counted yet.
        self.tokens = (left - f64::from(self.in_flight)).max(0.0);
    }

    /// 429: nothing is left for now.
    pub(super) fn throttled(&mut self, retry_after: Option<Duration>, now: Instant) {
        self.refill(now);
        self.counted = Counted::Yes;
        self.tokens = 0.0;
        let wait = retry_after.unwrap_or(Duration::from_secs(1));
        self.blocked_until = self.blocked_until.max(Some(now + wait));
    }

    fn remaining(&self, headers: &HeaderMap) -> Option<f64> {
        ["subscription", "subscription-global", "tenant"]
            .iter()
            .filter_map(|scope| {
                let name = format!("x-ms-ratelimit-remaining-{scope}-{}", self.kind.name());
                headers.get(name)?.to_str().ok()?.trim().parse::<f64>().ok()
            })
            .reduce(f64::min)
    }
}

/// `Microsoft.Compute/HighCostGet3Min;46,Microsoft.Compute/HighCostGet30Min;236`: the least.
fn provider_left(headers: &HeaderMap) -> Option<f64> {
    headers
        .get_all("x-ms-ratelimit-remaining-resource")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|policy| policy.rsplit_once(';')?.1.trim().parse::<f64>().ok())
        .reduce(f64::min)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (
                    http::HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_bucket_refills_as_azure_s() {
        let mut bucket = Bucket::new(Kind::Write, Instant::now());
        for _ in 0..200 {
            bucket.take(Instant::now());
        }
        assert_eq!(
            bucket.wait_for(1.0, true, Instant::now()),
            Duration::from_millis(100)
        );
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(bucket.wait_for(10.0, true, Instant::now()), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn headers_correct_the_model_by_what_is_under_way() {
        let mut bucket = Bucket::new(Kind::Read, Instant::now());
        bucket.sent();
        bucket.sent();
        bucket.ended();
        let told = headers(&[
            ("x-ms-ratelimit-remaining-subscription-reads", "11"),
            ("x-ms-ratelimit-remaining-subscription-global-reads", "3000"),
        ]);
        bucket.answered(&told, Instant::now());
        assert!((bucket.tokens - 10.0).abs() < 0.01, "{}", bucket.tokens);
    }

    #[tokio::test(start_paused = true)]
    async fn where_nobody_counts_nothing_waits_until_a_429() {
        let mut bucket = Bucket::new(Kind::Read, Instant::now());
        for _ in 0..300 {
            bucket.take(Instant::now());
            bucket.answered(&HeaderMap::new(), Instant::now());
        }
        assert_eq!(bucket.wait_for(5.0, true, Instant::now()), Duration::ZERO);
        bucket.throttled(Some(Duration::from_secs(3)), Instant::now());
        assert_eq!(
            bucket.wait_for(1.0, true, Instant::now()),
            Duration::from_secs(3)
        );
        assert!(bucket.fill(Instant::now()) < 0.01);
    }

    #[tokio::test(start_paused = true)]
    async fn the_provider_s_own_limit_thins_the_polls() {
        let mut bucket = Bucket::new(Kind::Read, Instant::now());
        let told = headers(&[
            ("x-ms-ratelimit-remaining-subscription-reads", "249"),
            (
                "x-ms-ratelimit-remaining-resource",
                "Microsoft.Compute/LowCostGet3Min;5,Microsoft.Compute/LowCostGet30Min;900",
            ),
        ]);
        bucket.answered(&told, Instant::now());
        assert!(bucket.fill(Instant::now()) < 0.11);
        tokio::time::advance(PROVIDER_MEMORY).await;
        assert!(bucket.fill(Instant::now()) > 0.9);
    }
}
