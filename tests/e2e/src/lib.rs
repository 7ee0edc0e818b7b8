//! Velero's own server and command line on a real Kubernetes API, with our plugin, our agents and a simulated Azure:
//! cluster objects and disks backed up, lost and restored together.
//!
//! Simulated are Azure's resource manager (the lab) and the disks' CSI driver ([`driver`]; for snapshots [`csi`]); all else
//! is the real program.

pub mod csi;
pub mod driver;
mod install;
pub mod postgres;
pub mod world;

pub use world::{Options, World};
