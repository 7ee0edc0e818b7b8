//! VolumeAttachments and what is kept of each. Under CSI migration in-tree volumes have them too.

use k8s_openapi::api::storage::v1::VolumeAttachment;

use super::volume;
use crate::model::VolumeId;

/// A volume that is attached to a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attachment {
    pub(super) node: String,
    pub(super) source: Source,
}

/// What is attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A PV, by name.
    Volume(String),
    /// A volume that only a pod's spec tells of.
    Inline(VolumeId),
}

impl Attachment {
    /// `None` if it is not attached.
    pub(super) fn of(object: &VolumeAttachment) -> Option<Self> {
        if !object.status.as_ref().is_some_and(|status| status.attached) {
            return None;
        }
        let spec = &object.spec;
        let source = match &spec.source.persistent_volume_name {
            Some(name) => Source::Volume(name.clone()),
            None => Source::Inline(volume::id(spec.source.inline_volume_spec.as_ref()?)?),
        };
        Some(Self {
            node: spec.node_name.clone(),
            source,
        })
    }
}
