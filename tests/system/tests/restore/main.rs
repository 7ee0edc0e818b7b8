//! Disks from snapshots, and their PVs, through the plugin's process.
#![allow(missing_docs, clippy::unwrap_used)]

mod faults;
mod kept;
mod persistent_volume;
mod placement;
mod role;
mod shapes;
mod stock;
