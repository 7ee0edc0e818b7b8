//! What this agent counts, for Prometheus. Counting is an atomic addition; histograms are told only after a thaw.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::{Registry, Unit},
};

use crate::{account::Refusal, error::HoldError};

/// Of the answer to a scrape.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PREFIX: &str = "stillpoint_agent";

/// Around what snapshots of Azure take, up to the longest hold and the second in which the supervisor ends a late one.
const FROZEN: [f64; 12] = [
    0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0, 60.0,
];
/// FIFREEZE takes tens of milliseconds on an idle disk, and as long as a flush on a busy one.
const CALL: [f64; 9] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 10.0];

/// Why a freeze ended before it was let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    LimitPassed,
    ForeignThaw,
    Stopping,
    ThawFailed,
}

impl Broken {
    const ALL: [Self; 4] = [
        Self::LimitPassed,
        Self::ForeignThaw,
        Self::Stopping,
        Self::ThawFailed,
    ];

    fn label(self) -> Reason {
        Reason::of(match self {
            Self::LimitPassed => "limit_passed",
            Self::ForeignThaw => "foreign_thaw",
            Self::Stopping => "stopping",
            Self::ThawFailed => "thaw_failed",
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

impl Reason {
    fn of(reason: &'static str) -> Self {
        Self { reason }
    }
}

type ByReason = Family<Reason, Counter>;

/// Clones count together.
#[derive(Clone)]
pub(crate) struct Metrics(Arc<Counted>);

struct Counted {
    freezes: Counter,
    broken: ByReason,
    refusals: ByReason,
    refused_callers: ByReason,
    frozen: Gauge,
    frozen_for: Histogram,
    call: Histogram,
    lease_renewed: Gauge,
    overdue: Gauge,
    /// How many there are, looked at when they are read.
    overdue_now: OnceLock<Look>,
    registry: Registry,
}

type Look = Box<dyn Fn() -> usize + Send + Sync>;

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut all = Registry::default();
        let begun = Gauge::<i64>::default();
        begun.set(now());
        all.register_with_unit(
            "process_start_time",
            "When the worker began, in seconds since 1970",
            Unit::Seconds,
            begun,
        );
        let registry = all.sub_registry_with_prefix(PREFIX);
        registry.register(
            "build",
            "The agent that runs",
            Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );
        let freezes = Counter::default();
        registry.register("freezes", "Filesystems frozen", freezes.clone());
        let broken = ByReason::default();
        registry.register(
            "broken_freezes",
            "Freezes that ended before they were let go",
            broken.clone(),
        );
        let refusals = ByReason::default();
        registry.register(
            "refusals",
            "Volumes that were asked for and not frozen",
            refusals.clone(),
        );
        let refused_callers = ByReason::default();
        registry.register(
            "refused_callers",
            "Calls of the TCP door that were not let in",
            refused_callers.clone(),
        );
        let frozen = Gauge::default();
        registry.register(
            "frozen_filesystems",
            "Filesystems that the agent has frozen now",
            frozen.clone(),
        );
        let frozen_for = Histogram::new(FROZEN);
        registry.register_with_unit(
            "frozen",
            "How long filesystems were frozen, from the start of FIFREEZE until thawed",
            Unit::Seconds,
            frozen_for.clone(),
        );
        let call = Histogram::new(CALL);
        registry.register_with_unit(
            "freeze_call",
            "How long FIFREEZE took",
            Unit::Seconds,
            call.clone(),
        );
        let lease_renewed = Gauge::default();
        registry.register_with_unit(
            "lease_renewed_timestamp",
            "When the agent's Lease was renewed last, in seconds since 1970; 0 if it never was",
            Unit::Seconds,
            lease_renewed.clone(),
        );
        let overdue = Gauge::default();
        registry.register(
            "overdue_filesystems",
            "Filesystems that are frozen past their deadline",
            overdue.clone(),
        );
        // A series that is there from the start can be alerted on when it first grows.
        for broke in Broken::ALL {
            drop(broken.get_or_create(&broke.label()));
        }
        for reason in HoldError::NAMES {
            drop(refusals.get_or_create(&Reason::of(reason)));
        }
        for reason in Refusal::NAMES {
            drop(refused_callers.get_or_create(&Reason::of(reason)));
        }
        Self(Arc::new(Counted {
            freezes,
            broken,
            refusals,
            refused_callers,
            frozen,
            frozen_for,
            call,
            lease_renewed,
            overdue,
            overdue_now: OnceLock::new(),
            registry: all,
        }))
    }

    /// FIFREEZE has succeeded.
    pub(crate) fn frozen(&self) {
        self.0.freezes.inc();
        self.0.frozen.inc();
    }

    /// What was [`frozen`](Self::frozen) is to be let go, or was not to be held: `call` is what FIFREEZE took.
    pub(crate) fn ended(&self, call: Duration, frozen_for: Duration, broken: Option<Broken>) {
        self.0.call.observe(call.as_secs_f64());
        self.0.frozen_for.observe(frozen_for.as_secs_f64());
        if let Some(broken) = broken {
            self.0.broken.get_or_create(&broken.label()).inc();
        }
    }

    /// It is not frozen any more.
    pub(crate) fn thawed(&self) {
        self.0.frozen.dec();
    }

    /// A volume was asked for and is not frozen.
    pub(crate) fn refused(&self, error: &HoldError) {
        let reason = Reason::of(error.name());
        self.0.refusals.get_or_create(&reason).inc();
    }

    /// A call was not let in.
    pub(crate) fn refused_caller(&self, refusal: &Refusal) {
        let reason = Reason::of(refusal.name());
        self.0.refused_callers.get_or_create(&reason).inc();
    }

    /// The Lease was renewed a moment ago.
    pub(crate) fn lease_renewed(&self) {
        self.0.lease_renewed.set(now());
    }

    /// Filesystems frozen past their deadline are counted by `look`, whenever someone reads.
    pub(crate) fn count_overdue(&self, look: impl Fn() -> usize + Send + Sync + 'static) {
        // Told once, where everything is wired together.
        let _ = self.0.overdue_now.set(Box::new(look));
    }

    /// All of it as OpenMetrics text.
    pub(crate) fn text(&self) -> String {
        if let Some(look) = self.0.overdue_now.get() {
            let count = i64::try_from(look()).unwrap_or(i64::MAX);
            self.0.overdue.set(count);
        }
        let mut text = String::new();
        if let Err(error) = text::encode(&mut text, &self.0.registry) {
            // A String takes everything.
            tracing::error!(%error, "metrics cannot be written");
        }
        text
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(since.unwrap_or_default().as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_read() {
        let metrics = Metrics::new();
        let begun = metrics.text();
        for zero in [
            "stillpoint_agent_freezes_total 0",
            r#"stillpoint_agent_broken_freezes_total{reason="limit_passed"} 0"#,
            r#"stillpoint_agent_refusals_total{reason="foreign"} 0"#,
            r#"stillpoint_agent_refused_callers_total{reason="rejected"} 0"#,
            r#"stillpoint_agent_build_info{version=""#,
        ] {
            assert!(begun.contains(zero), "{zero}: {begun}");
        }
        metrics.frozen();
        metrics.frozen();
        metrics.ended(
            Duration::from_millis(30),
            Duration::from_millis(1600),
            Some(Broken::ForeignThaw),
        );
        metrics.thawed();
        metrics.refused(&HoldError::Stopping);
        metrics.refused_caller(&Refusal::NoToken);
        metrics.count_overdue(|| 3);
        let seen = metrics.text();
        for line in [
            "stillpoint_agent_freezes_total 2",
            "stillpoint_agent_frozen_filesystems 1",
            "stillpoint_agent_frozen_seconds_count 1",
            r#"stillpoint_agent_frozen_seconds_bucket{le="1.5"} 0"#,
            r#"stillpoint_agent_frozen_seconds_bucket{le="2.0"} 1"#,
            r#"stillpoint_agent_freeze_call_seconds_bucket{le="0.05"} 1"#,
            r#"stillpoint_agent_broken_freezes_total{reason="foreign_thaw"} 1"#,
            r#"stillpoint_agent_refusals_total{reason="stopping"} 1"#,
            "stillpoint_agent_overdue_filesystems 3",
            r#"stillpoint_agent_refused_callers_total{reason="no_token"} 1"#,
        ] {
            assert!(seen.contains(line), "{line}: {seen}");
        }
    }
}
