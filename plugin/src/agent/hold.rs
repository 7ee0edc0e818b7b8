//! One hold of an agent: a call that is open as long as the hold lasts.
//!
//! ```text
//!  Begin ─► Frozen ─► our side closed ─► Thawed        released
//!                └──► Thawed, or the call breaks       lost
//! ```

use std::{future::pending, time::Duration};

use async_trait::async_trait;
use stillpoint_proto::agent::{
    Frozen, HoldEvent, HoldRequest, Thawed, hold_event::Event, refusal::Reason,
    volume_freeze::Outcome,
};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};
use tonic::{Status, Streaming};

use super::unix::described;
use crate::{
    model::VolumeId,
    ports::{Hold, HoldEnd, Refusal, VolumeHold},
};

/// How long an agent may take to thaw and say so. Then its hold counts as not held.
const THAW: Duration = Duration::from_secs(5);

/// Why a hold did not begin.
#[derive(Debug)]
pub(super) struct NotHeld {
    pub(super) reason: String,
    /// No agent said so: the connection was none any more.
    pub(super) broken: bool,
}

impl NotHeld {
    pub(super) fn because(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            broken: false,
        }
    }
}

impl From<Status> for NotHeld {
    fn from(status: Status) -> Self {
        Self {
            reason: described(&status),
            // What an agent says comes without a source.
            broken: std::error::Error::source(&status).is_some(),
        }
    }
}

pub(super) struct AgentHold {
    /// Our side of the call: dropping it lets go.
    ours: Option<mpsc::Sender<HoldRequest>>,
    events: Streaming<HoldEvent>,
    asked: Vec<VolumeId>,
    volumes: Vec<VolumeHold>,
    since: Instant,
    /// What the agent said at the end, or how it fell silent.
    end: Option<Result<Thawed, String>>,
}

impl AgentHold {
    /// Waits until every volume is frozen or refused.
    pub(super) async fn begin(
        ours: mpsc::Sender<HoldRequest>,
        mut events: Streaming<HoldEvent>,
        asked: &[VolumeId],
        node: &str,
    ) -> Result<Self, NotHeld> {
        let event = events.message().await?;
        let frozen = match event.and_then(|event| event.event) {
            Some(Event::Frozen(frozen)) => frozen,
            Some(Event::Thawed(_)) => {
                return Err(NotHeld::because("it thawed before it had frozen"));
            }
            None => return Err(NotHeld::because("it ended the call without a word")),
        };
        Ok(Self {
            ours: Some(ours),
            events,
            asked: asked.to_vec(),
            volumes: asked.iter().map(|id| outcome(id, &frozen, node)).collect(),
            since: Instant::now(),
            end: None,
        })
    }

    fn is_frozen(&self) -> bool {
        self.volumes
            .iter()
            .any(|volume| matches!(volume, VolumeHold::Frozen { .. }))
    }

    /// Waits for the agent's last word. Can be abandoned and begun again.
    async fn last_word(&mut self) {
        if self.end.is_some() {
            return;
        }
        self.end = Some(match self.events.message().await {
            Ok(Some(HoldEvent {
                event: Some(Event::Thawed(thawed)),
            })) => Ok(thawed),
            Ok(Some(_)) => Err("the agent spoke out of turn".to_owned()),
            Ok(None) => Err("the agent ended the call without saying how the hold went".to_owned()),
            Err(status) => Err(format!(
                "the call to the agent broke: {}",
                described(&status)
            )),
        });
    }

    fn ends(&self) -> Vec<HoldEnd> {
        // An upper bound, for an agent that does not say.
        let at_most = self.since.elapsed();
        let ends = self
            .asked
            .iter()
            .zip(&self.volumes)
            .map(|(id, volume)| match volume {
                VolumeHold::Refused(refusal) => HoldEnd {
                    frozen: Duration::ZERO,
                    held: Err(refusal.message.clone()),
                },
                VolumeHold::Frozen { .. } => match &self.end {
                    Some(Ok(thawed)) => thaw(id, thawed, at_most),
                    Some(Err(message)) => HoldEnd {
                        frozen: at_most,
                        held: Err(message.clone()),
                    },
                    None => HoldEnd {
                        frozen: at_most,
                        held: Err(format!(
                            "the agent did not say within {THAW:?} how the hold went"
                        )),
                    },
                },
            });
        ends.collect()
    }
}

#[async_trait]
impl Hold for AgentHold {
    fn volumes(&self) -> &[VolumeHold] {
        &self.volumes
    }

    async fn lost(&mut self) {
        if !self.is_frozen() {
            // There is nothing to lose.
            return pending().await;
        }
        self.last_word().await;
    }

    async fn release(mut self: Box<Self>) -> Vec<HoldEnd> {
        self.ours = None;
        if self.is_frozen() {
            let _ = timeout(THAW, self.last_word()).await;
        }
        self.ends()
    }
}

fn outcome(id: &VolumeId, frozen: &Frozen, node: &str) -> VolumeHold {
    let said = frozen.volumes.iter().find(|one| is(&one.volume, id));
    match said.and_then(|one| one.outcome.as_ref()) {
        Some(Outcome::Frozen(filesystem)) => VolumeHold::Frozen {
            filesystem: filesystem.filesystem.clone(),
            nodes: vec![node.to_owned()],
        },
        Some(Outcome::Refused(refusal)) => VolumeHold::Refused(Refusal {
            not_mounted: refusal.reason() == Reason::NotMounted,
            message: refusal.message.clone(),
        }),
        None => VolumeHold::Refused(Refusal {
            not_mounted: false,
            message: "the agent did not speak of it".to_owned(),
        }),
    }
}

fn thaw(id: &VolumeId, thawed: &Thawed, at_most: Duration) -> HoldEnd {
    let Some(said) = thawed.volumes.iter().find(|one| is(&one.volume, id)) else {
        let held = Err("the agent did not say how its hold went".to_owned());
        return HoldEnd {
            frozen: at_most,
            held,
        };
    };
    let frozen = said
        .frozen_for
        .and_then(|time| Duration::try_from(time).ok());
    let held = if said.held {
        Ok(())
    } else {
        Err(said.reason.clone())
    };
    HoldEnd {
        frozen: frozen.unwrap_or(at_most),
        held,
    }
}

fn is(volume: &str, id: &VolumeId) -> bool {
    volume.parse::<VolumeId>().is_ok_and(|volume| volume == *id)
}
