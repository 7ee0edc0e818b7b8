//! Holds on several nodes as one. A volume stands still only where it stands still on all of its nodes.

use std::{future::pending, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::future::{join_all, select_all};

use super::directory::Directory;
use crate::{
    model::VolumeId,
    ports::{Hold, HoldEnd, Refusal, VolumeHold},
};

/// What one node holds.
pub(super) struct Part {
    /// Of the volumes, in the order that the node was asked.
    places: Vec<usize>,
    hold: Box<dyn Hold>,
}

/// All of them.
pub(super) struct Joint {
    directory: Arc<dyn Directory>,
    asked: Vec<VolumeId>,
    volumes: Vec<VolumeHold>,
    parts: Vec<Part>,
}

impl Part {
    pub(super) fn new(places: Vec<usize>, hold: Box<dyn Hold>) -> Self {
        Self { places, hold }
    }

    fn outcome(&self, place: usize) -> Option<&VolumeHold> {
        let here = self.places.iter().position(|here| *here == place)?;
        self.hold.volumes().get(here)
    }
}

impl Joint {
    /// `refused` tells of the volumes that no node was asked for, or one failed to hold.
    pub(super) fn new(
        directory: Arc<dyn Directory>,
        asked: &[VolumeId],
        refused: Vec<Option<String>>,
        mut parts: Vec<Part>,
    ) -> Self {
        let volumes: Vec<_> = refused
            .into_iter()
            .enumerate()
            .map(|(place, reason)| match reason {
                Some(message) => {
                    let seen = parts.iter().any(|part| is_frozen(part.outcome(place)));
                    VolumeHold::Refused(Refusal {
                        not_mounted: !seen,
                        message,
                    })
                }
                None => together(parts.iter().filter_map(|part| part.outcome(place))),
            })
            .collect();
        // A node that holds nothing of use is let go at once.
        parts.retain(|part| {
            let mut places = part.places.iter();
            places.any(|place| is_frozen(volumes.get(*place)))
        });
        Self {
            directory,
            asked: asked.to_vec(),
            volumes,
            parts,
        }
    }
}

fn is_frozen(volume: Option<&VolumeHold>) -> bool {
    matches!(volume, Some(VolumeHold::Frozen { .. }))
}

/// One verdict of all nodes.
fn together<'a>(outcomes: impl Iterator<Item = &'a VolumeHold>) -> VolumeHold {
    let mut still: Option<(String, Vec<String>)> = None;
    let mut refusals: Vec<&Refusal> = Vec::new();
    for outcome in outcomes {
        match outcome {
            VolumeHold::Refused(refusal) => refusals.push(refusal),
            VolumeHold::Frozen { filesystem, nodes } => still
                .get_or_insert_with(|| (filesystem.clone(), Vec::new()))
                .1
                .extend(nodes.iter().cloned()),
        }
    }
    // The one that says most.
    let refusal = refusals.iter().find(|refusal| !refusal.not_mounted);
    match (refusal.or(refusals.first()), still) {
        (None, Some((filesystem, nodes))) => VolumeHold::Frozen { filesystem, nodes },
        (Some(refusal), None) => VolumeHold::Refused((*refusal).clone()),
        (Some(refusal), Some((_, nodes))) => VolumeHold::Refused(Refusal {
            not_mounted: false,
            message: format!(
                "frozen on {}, but not on all of its nodes: {}",
                nodes.join(" and "),
                refusal.message
            ),
        }),
        (None, None) => VolumeHold::Refused(Refusal {
            not_mounted: true,
            message: "no agent spoke of it".to_owned(),
        }),
    }
}

#[async_trait]
impl Hold for Joint {
    fn volumes(&self) -> &[VolumeHold] {
        &self.volumes
    }

    async fn lost(&mut self) {
        if self.parts.is_empty() {
            return pending().await;
        }
        select_all(self.parts.iter_mut().map(|part| part.hold.lost())).await;
    }

    async fn release(mut self: Box<Self>) -> Vec<HoldEnd> {
        let parts = std::mem::take(&mut self.parts);
        let released = parts
            .into_iter()
            .map(|part| async move { (part.places, part.hold.release().await) });
        let released = join_all(released).await;
        let mut ends: Vec<HoldEnd> = self
            .volumes
            .iter()
            .map(|volume| HoldEnd {
                frozen: Duration::ZERO,
                held: match volume {
                    VolumeHold::Frozen { .. } => Ok(()),
                    VolumeHold::Refused(refusal) => Err(refusal.message.clone()),
                },
            })
            .collect();
        for (places, part) in released {
            for (place, end) in places.into_iter().zip(part) {
                let whole = &mut ends[place];
                whole.frozen = whole.frozen.max(end.frozen);
                if whole.held.is_ok() {
                    whole.held = end.held;
                }
            }
        }
        for ((id, volume), end) in self.asked.iter().zip(&self.volumes).zip(&mut ends) {
            let VolumeHold::Frozen { nodes, .. } = volume else {
                continue;
            };
            let now = self.directory.nodes_now(id);
            if let Some(other) = now.iter().find(|node| !nodes.contains(node))
                && end.held.is_ok()
            {
                end.held = Err(format!("it was attached to {other} meanwhile"));
            }
        }
        ends
    }
}
