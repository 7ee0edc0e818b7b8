//! The gate: has a volume frozen before anyone can act on its VolumeSnapshotContent.

pub mod door;
