//! The Velero plugin: what Velero starts, and what it does with Azure's disks.

pub mod azure;
pub mod by_hand;
pub mod error;
pub mod goplugin;
pub mod install;
pub mod log;
pub mod model;
pub mod ports;
pub mod velero;
