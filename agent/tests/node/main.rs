//! The agent as a process, on real filesystems.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod cgroup;
mod client;
mod clock;
mod cluster;
mod commands;
mod death;
mod endurance;
mod harness;
mod holds;
mod journal;
mod mounts;
mod probes;
mod refusals;
mod update;
mod writer;
