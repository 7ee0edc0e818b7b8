//! Volumes as node agents know them.

use std::{fmt, str::FromStr};

use super::{DiskId, InvalidId};

/// A volume that is mounted on nodes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum VolumeId {
    /// A managed disk, of `disk.csi.azure.com` or in-tree.
    Disk(DiskId),
    /// A volume of another CSI driver; written `DRIVER^HANDLE`, as Kubernetes writes its unique volume names.
    Other {
        /// The driver's name.
        driver: String,
        /// What the driver calls it. Compares as it is.
        handle: String,
    },
}

impl VolumeId {
    /// The managed disk, if it is one.
    pub fn disk(&self) -> Option<&DiskId> {
        match self {
            Self::Disk(disk) => Some(disk),
            Self::Other { .. } => None,
        }
    }
}

impl From<DiskId> for VolumeId {
    fn from(disk: DiskId) -> Self {
        Self::Disk(disk)
    }
}

impl fmt::Display for VolumeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk(disk) => disk.fmt(f),
            Self::Other { driver, handle } => write!(f, "{driver}^{handle}"),
        }
    }
}

impl FromStr for VolumeId {
    type Err = InvalidId;

    fn from_str(value: &str) -> Result<Self, InvalidId> {
        match value.split_once('^') {
            Some((driver, handle)) if !driver.contains('/') => Ok(Self::Other {
                driver: driver.to_owned(),
                handle: handle.to_owned(),
            }),
            _ => value.parse().map(Self::Disk),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_round_trip() {
        for value in [
            "/subscriptions/s-1/resourceGroups/rg/providers/Microsoft.Compute/disks/d_1",
            "hostpath.csi.k8s.io^a/b^c",
        ] {
            let volume: VolumeId = value.parse().unwrap();
            assert_eq!(volume.to_string(), value);
            assert_eq!(volume.disk().is_some(), value.starts_with('/'));
        }
        assert!("d_1".parse::<VolumeId>().is_err());
    }
}
