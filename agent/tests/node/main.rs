//! The agent as a process, on real filesystems.

mod commands;
mod death;
mod harness;
mod holds;
mod journal;
mod mounts;
mod refusals;
