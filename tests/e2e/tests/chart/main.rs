//! The chart: what helm makes of it, and its life in a cluster.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed step fails the test"
)]

mod leases;
mod life;
mod options;
mod readme;
mod values;
