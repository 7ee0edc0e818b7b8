//! Velero's own server and command line on a real Kubernetes API, with our plugin, our agents and a simulated Azure:
//! cluster objects and disks backed up, lost and restored together.
//!
//! Simulated are Azure's resource manager (the lab) and the disks' CSI driver ([`driver`]; for snapshots [`csi`]); all else
//! is the real program.

pub mod application;
mod backup;
pub mod bench;
pub mod csi;
pub mod driver;
mod events;
pub mod files;
pub mod gate;
pub mod in_tree;
mod install;
mod objects;
mod options;
pub mod postgres;
pub mod public_cloud;
mod roles;
mod snapshots;
pub mod world;

pub use options::{Cloud, Options, Plugin};
pub use world::World;
