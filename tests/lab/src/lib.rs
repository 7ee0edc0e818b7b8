//! A simulated Azure for tests, demo and bench: strict, stateful, and with disks that are real files.
//!
//! [`Lab::start`] serves Entra's token endpoints and `Microsoft.Compute` and storage accounts over HTTPS, the instance
//! metadata service (managed identity) and a control API over HTTP, all on threads of its own, so
//! neither a paused clock nor a blocked test thread changes what it does. Managed disks are sparse
//! files on one xfs, itself a loop-mounted file in the lab's directory; a snapshot's cut is a reflink
//! and therefore atomic. Everything ends, and is unmounted, when the [`Lab`] is dropped.
//!
//! ```text
//! web (TLS, HTTP, faults, latency, log) ─► entra (tokens) ─► arm (rules, operations) ─► world (state)
//!                                                                    └─► store (files, reflinks)
//! ```
//!
//! [`host`] is a host of plugins, as Velero is one.
//!
//! The control API that other processes use is described in [`control`].

pub mod arm;
pub mod control;
pub mod entra;
pub mod fault;
mod glob;
pub mod host;
mod lab;
mod limits;
mod moment;
mod resource_id;
pub mod settings;
mod shared;
mod sku;
mod storage_account;
mod store;
mod web;
mod world;

pub use arm::facts::SnapshotView;
pub use entra::identity::{Credential, Identity};
pub use fault::{Action, Fault};
pub use lab::{Lab, LabError, NewDisk, NewStorageAccount};
pub use moment::Moment;
pub use resource_id::{Kind, ParseResourceIdError, ResourceId};
pub use settings::{Cut, Settings};
pub use sku::Sku;
pub use storage_account::{AccountKey, KeyName, ParseAccountKeyError};
pub use web::log::RequestRecord;
