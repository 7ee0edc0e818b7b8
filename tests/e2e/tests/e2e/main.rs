//! A backup with cluster objects and disks together, everything lost, everything back.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod application;
mod scenario;
mod shop;
