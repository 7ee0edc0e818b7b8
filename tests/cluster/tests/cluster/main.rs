//! A cluster of real programs does what the tests of the parts and of the whole rely on.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod api;
mod nodes;
mod snapshots;
mod velero;

/// The end of a test that cannot run here, said loudly.
macro_rules! skip_if_missing {
    () => {
        if let Some(why) = stillpoint_cluster::missing() {
            eprintln!("SKIPPED: {why}");
            return;
        }
    };
}
use skip_if_missing;
