//! What the gate counts, for Prometheus.

use std::{sync::Arc, time::Duration};

use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::{Registry, Unit},
};
use tokio::time::Instant;

use super::ports::Verdict;
use crate::model::Consistency;

const PREFIX: &str = "stillpoint_gate";
/// As the agent's, so that both can be laid over each other.
const FROZEN: [f64; 12] = [
    0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0, 60.0,
];
/// Up to the 30 s that an API server waits at most.
const REVIEW: [f64; 11] = [
    0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0,
];

/// What a review came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was none of ours, or not to be frozen.
    Passed,
    /// A verdict will come of it.
    Answered,
    /// No freeze, no snapshot.
    Denied,
    /// The API server did not wait for it.
    Abandoned,
}

impl Outcome {
    const ALL: [Self; 4] = [Self::Passed, Self::Answered, Self::Denied, Self::Abandoned];

    fn label(self) -> OutcomeLabel {
        let outcome = match self {
            Self::Passed => "passed",
            Self::Answered => "answered",
            Self::Denied => "denied",
            Self::Abandoned => "abandoned",
        };
        OutcomeLabel { outcome }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerdictLabel {
    verdict: &'static str,
}

const NOT_TAKEN: &str = "not_taken";

fn name(consistency: Consistency) -> &'static str {
    match consistency {
        Consistency::Filesystem => "filesystem",
        Consistency::Unmounted => "unmounted",
        Consistency::Crash => "crash",
    }
}

/// Clones count together.
#[derive(Clone)]
pub struct Metrics(Arc<Counted>);

struct Counted {
    reviews: Family<OutcomeLabel, Counter>,
    review: Histogram,
    verdicts: Family<VerdictLabel, Counter>,
    holds: Gauge,
    unheld: Counter,
    frozen: Histogram,
    lost: Counter,
    unconfirmed: Counter,
    registry: Registry,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let mut all = Registry::with_prefix(PREFIX);
        all.register(
            "build",
            "The gate that runs",
            Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );
        let reviews = Family::<OutcomeLabel, Counter>::default();
        all.register("reviews", "Reviews, by what they came to", reviews.clone());
        let review = Histogram::new(REVIEW);
        all.register_with_unit(
            "review",
            "How long the API server waited for an answer",
            Unit::Seconds,
            review.clone(),
        );
        let verdicts = Family::<VerdictLabel, Counter>::default();
        all.register(
            "verdicts",
            "Verdicts on snapshots that were told",
            verdicts.clone(),
        );
        let holds = Gauge::default();
        all.register("holds", "Holds that stand now", holds.clone());
        let unheld = Counter::default();
        all.register(
            "unheld",
            "Snapshots that went on although nothing could be held for them",
            unheld.clone(),
        );
        let frozen = Histogram::new(FROZEN);
        all.register_with_unit(
            "frozen",
            "How long the volumes of a snapshot stood still",
            Unit::Seconds,
            frozen.clone(),
        );
        let lost = Counter::default();
        all.register(
            "lost_holds",
            "Holds that ended on the node before the data was fixed",
            lost.clone(),
        );
        let unconfirmed = Counter::default();
        all.register(
            "unconfirmed_holds",
            "Holds that the API server did not store, or that nobody had asked for",
            unconfirmed.clone(),
        );
        // A series that is there from the start can be alerted on when it first grows.
        for outcome in Outcome::ALL {
            drop(reviews.get_or_create(&outcome.label()));
        }
        let consistencies = [
            Consistency::Filesystem,
            Consistency::Unmounted,
            Consistency::Crash,
        ];
        for verdict in consistencies.map(name).into_iter().chain([NOT_TAKEN]) {
            drop(verdicts.get_or_create(&VerdictLabel { verdict }));
        }
        Self(Arc::new(Counted {
            reviews,
            review,
            verdicts,
            holds,
            unheld,
            frozen,
            lost,
            unconfirmed,
            registry: all,
        }))
    }

    /// A review begins.
    pub(super) fn review(&self) -> Review {
        Review {
            metrics: self.clone(),
            begun: Instant::now(),
            outcome: Outcome::Abandoned,
        }
    }

    /// A hold stands, until what this returns is dropped.
    pub(super) fn hold(&self) -> Standing {
        self.0.holds.inc();
        Standing(self.clone())
    }

    /// Nothing is held, and the snapshot goes on.
    pub(super) fn unheld(&self) {
        self.0.unheld.inc();
    }

    /// A hold was lost.
    pub(super) fn lost(&self) {
        self.0.lost.inc();
    }

    /// A hold was not stored.
    pub(super) fn unconfirmed(&self) {
        self.0.unconfirmed.inc();
    }

    /// How long volumes stood still.
    pub(super) fn frozen(&self, frozen: Duration) {
        self.0.frozen.observe(frozen.as_secs_f64());
    }

    /// A verdict was told.
    pub(super) fn told(&self, verdict: &Verdict) {
        let verdict = match verdict.taken {
            true => name(verdict.worth.consistency),
            false => NOT_TAKEN,
        };
        let label = VerdictLabel { verdict };
        self.0.verdicts.get_or_create(&label).inc();
    }

    /// All of it as OpenMetrics text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        if let Err(error) = text::encode(&mut text, &self.0.registry) {
            // A String takes everything.
            tracing::error!(%error, "metrics cannot be written");
        }
        text
    }
}

/// A review under way; counted when it is dropped.
pub(super) struct Review {
    metrics: Metrics,
    begun: Instant,
    outcome: Outcome,
}

impl Review {
    pub(super) fn came_to(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for Review {
    fn drop(&mut self) {
        let counted = &self.metrics.0;
        counted.reviews.get_or_create(&self.outcome.label()).inc();
        counted.review.observe(self.begun.elapsed().as_secs_f64());
    }
}

/// A hold that stands.
pub(super) struct Standing(Metrics);

impl Drop for Standing {
    fn drop(&mut self) {
        self.0.0.holds.dec();
    }
}
