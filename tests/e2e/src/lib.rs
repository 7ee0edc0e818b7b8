//! Velero's own server and command line on a real Kubernetes API, with our plugin, our agents and a simulated Azure:
//! cluster objects and disks backed up, lost and restored together.
//!
//! Simulated are Azure's resource manager (the lab) and the disks' CSI driver ([`driver`]); all else is the real program.

mod backup;
pub mod driver;
mod events;
mod install;
pub mod pods;
pub mod postgres;
mod snapshots;
pub mod world;

pub use world::{Options, World};
