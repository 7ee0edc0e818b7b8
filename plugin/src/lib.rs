//! Stillpoint's Velero plugin for Azure managed disks.

pub mod azure;
pub mod model;
pub mod ports;
