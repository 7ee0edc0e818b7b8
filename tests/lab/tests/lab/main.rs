//! The lab, asked over its own HTTPS: each rule, each fault, and cuts on real filesystems.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod client;
mod control;
mod cuts;
mod disks;
mod entra;
mod faults;
mod limits;
mod locks;
mod snapshots;
mod storage_accounts;
mod storage_tokens;
