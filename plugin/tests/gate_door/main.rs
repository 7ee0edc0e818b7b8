//! The gate's door as a real API server uses it, with the rights and the webhooks of the chart.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed step fails the test"
)]

mod certificate;
mod conditions;
mod contents;
mod reviews;
mod scene;
