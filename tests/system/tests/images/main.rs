//! The images of `deploy/Dockerfile`: built from the release, and run as Velero and the chart run them.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod engine;
mod run;
