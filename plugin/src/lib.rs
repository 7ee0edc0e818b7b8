//! The Velero plugin: what Velero starts, and what it does with Azure's disks.

pub mod agent;
pub mod azure;
pub mod backup_location;
pub mod by_hand;
pub mod config;
pub mod doctor;
pub mod error;
pub mod gate;
pub mod goplugin;
mod hold;
pub mod install;
pub mod kubectl;
pub mod kubernetes;
pub mod log;
pub mod model;
pub mod ports;
pub mod pv;
pub mod restore;
pub mod snapshot;
pub mod snapshot_location;
pub mod tags;
mod trust;
pub mod velero;
