//! PVs and what is kept of each.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeSpec};

use super::wish::ANNOTATION;
use crate::{
    model::{DiskId, VolumeId},
    pv::DRIVER,
};

/// A PV that nodes mount: a managed disk, or a volume of another CSI driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Volume {
    pub(super) id: VolumeId,
    pub(super) claim: Option<Claim>,
    /// What its annotation asks for.
    pub(super) wish: Option<String>,
}

/// The PVC that it is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: Option<String>,
}

impl Volume {
    /// `None` if it is neither.
    pub(super) fn of(pv: &PersistentVolume) -> Option<Self> {
        let spec = pv.spec.as_ref()?;
        let claim = spec.claim_ref.as_ref().and_then(|claim| {
            Some(Claim {
                namespace: claim.namespace.clone()?,
                name: claim.name.clone()?,
                uid: claim.uid.clone(),
            })
        });
        let annotations = pv.metadata.annotations.as_ref();
        Some(Self {
            id: id(spec)?,
            claim,
            wish: annotations.and_then(|all| all.get(ANNOTATION)).cloned(),
        })
    }
}

/// What is behind a volume, CSI or in-tree.
pub(super) fn id(spec: &PersistentVolumeSpec) -> Option<VolumeId> {
    let disk = |id: &str| id.parse::<DiskId>().ok().map(VolumeId::from);
    match (&spec.csi, &spec.azure_disk) {
        (Some(csi), _) if csi.driver == DRIVER => disk(&csi.volume_handle),
        (Some(csi), _) => Some(VolumeId::Other {
            driver: csi.driver.clone(),
            handle: csi.volume_handle.clone(),
        }),
        (None, Some(in_tree)) => disk(&in_tree.disk_uri),
        (None, None) => None,
    }
}
