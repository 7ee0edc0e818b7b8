//! PVs and what is kept of each.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeSpec};

use super::wish::ANNOTATION;
use crate::{model::DiskId, pv::DRIVER};

/// A PV that is a managed disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Volume {
    pub(super) disk: DiskId,
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
    /// `None` if it is no managed disk.
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
            disk: disk(spec)?,
            claim,
            wish: annotations.and_then(|all| all.get(ANNOTATION)).cloned(),
        })
    }
}

/// The disk behind a volume, CSI or in-tree.
pub(super) fn disk(spec: &PersistentVolumeSpec) -> Option<DiskId> {
    let csi = spec.csi.as_ref().filter(|csi| csi.driver == DRIVER);
    let id = csi.map(|csi| &csi.volume_handle);
    let id = id.or(spec.azure_disk.as_ref().map(|disk| &disk.disk_uri));
    id?.parse().ok()
}
