//! Stillpoint's Velero plugin for Azure managed disks.

pub mod agent;
pub mod config;
pub mod model;
pub mod ports;
pub mod pv;
pub mod restore;
pub mod snapshot;
pub mod tags;
