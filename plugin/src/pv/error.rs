//! Why a PV cannot be taken as it is.

use crate::model::InvalidId;

/// A PersistentVolume that is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PvError {
    /// Not JSON of a PV.
    #[error("PersistentVolume `{pv}`: expected an object in `{field}`")]
    Shape {
        /// Its name.
        pv: String,
        /// What is missing.
        field: &'static str,
    },
    /// The disk's ID cannot be read.
    #[error("PersistentVolume `{pv}`: {field}: {source}")]
    Handle {
        /// Its name.
        pv: String,
        /// Where.
        field: &'static str,
        /// What it is.
        source: InvalidId,
    },
    /// A blob as a disk.
    #[error(
        "PersistentVolume `{pv}`: spec.azureDisk.kind is `{kind}`, expected Managed: \
         unmanaged disks have no snapshots of their own"
    )]
    Unmanaged {
        /// Its name.
        pv: String,
        /// Its kind.
        kind: String,
    },
    /// Another driver's volume.
    #[error("PersistentVolume `{pv}`: spec.csi.driver is `{driver}`, expected disk.csi.azure.com")]
    Driver {
        /// Its name.
        pv: String,
        /// The driver.
        driver: String,
    },
    /// Another kind of volume.
    #[error("PersistentVolume `{pv}`: expected spec.csi or spec.azureDisk")]
    NotOurs {
        /// Its name.
        pv: String,
    },
}
