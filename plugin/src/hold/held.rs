//! Whether each volume of a hold stands still, and how that ended.

use std::future::pending;

use crate::{
    config::FreezeMode,
    model::VolumeId,
    ports::{Hold, HoldEnd, Holder, HolderError, VolumeHold},
};
use std::time::Duration;

/// How a volume is when its snapshot is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Frozen.
    Still {
        filesystem: String,
        nodes: Vec<String>,
    },
    /// Not frozen.
    Moving {
        reason: String,
        /// An agent sees it mounted.
        mounted: bool,
    },
}

/// A hold, or none. Dropping it lets go.
pub(crate) struct Held {
    hold: Option<Box<dyn Hold>>,
    ends: Vec<HoldEnd>,
}

impl Held {
    /// Nothing is held.
    pub(crate) fn nothing() -> Self {
        Self {
            hold: None,
            ends: Vec::new(),
        }
    }

    /// Tries to hold the volumes. Without any that stands still there is no hold.
    pub(crate) async fn begin(
        holder: &dyn Holder,
        mode: FreezeMode,
        id: &str,
        volumes: &[VolumeId],
        limit: Duration,
    ) -> (Self, Vec<Standing>) {
        let mut held = Self::nothing();
        let moving = |reason: String| {
            volumes
                .iter()
                .map(|_| Standing::Moving {
                    reason: reason.clone(),
                    mounted: false,
                })
                .collect()
        };
        let hold = match mode {
            FreezeMode::Off => return (held, moving("`freeze` is off".to_owned())),
            FreezeMode::Auto | FreezeMode::Required => holder.hold(id, volumes, limit).await,
        };
        match hold {
            Ok(hold) => {
                let standings = standings(hold.volumes(), volumes.len());
                if standings
                    .iter()
                    .any(|one| matches!(one, Standing::Still { .. }))
                {
                    held.hold = Some(hold);
                }
                (held, standings)
            }
            Err(error @ (HolderError::NoAgent(_) | HolderError::Agent { .. })) => {
                (held, moving(error.to_string()))
            }
        }
    }

    /// Returns when the hold is over without our doing; never if there is none.
    pub(crate) async fn lost(&mut self) {
        match &mut self.hold {
            Some(hold) => hold.lost().await,
            None => pending().await,
        }
    }

    pub(crate) fn is_held(&self) -> bool {
        self.hold.is_some()
    }

    /// Thaws, if that has not been done.
    pub(crate) async fn release(&mut self) {
        if let Some(hold) = self.hold.take() {
            self.ends = hold.release().await;
        }
    }

    /// How the hold of the volume at that place ended; `None` if it was not held.
    pub(crate) fn end(&self, place: usize) -> Option<&HoldEnd> {
        self.ends.get(place)
    }
}

fn standings(volumes: &[VolumeHold], count: usize) -> Vec<Standing> {
    let mut standings: Vec<_> = volumes
        .iter()
        .map(|volume| match volume {
            VolumeHold::Frozen { filesystem, nodes } => Standing::Still {
                filesystem: filesystem.clone(),
                nodes: nodes.clone(),
            },
            VolumeHold::Refused(refusal) => Standing::Moving {
                reason: refusal.message.clone(),
                mounted: !refusal.not_mounted,
            },
        })
        .collect();
    standings.resize(
        count,
        Standing::Moving {
            reason: "the agent did not speak of it".to_owned(),
            mounted: true,
        },
    );
    standings
}
