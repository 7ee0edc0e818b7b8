//! The agent as a process, on real filesystems.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod client;
mod cluster;
mod commands;
mod death;
mod harness;
mod holds;
mod journal;
mod mounts;
mod probes;
mod refusals;
mod writer;
