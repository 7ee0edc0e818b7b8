//! What an agent says of its node.

use std::time::Duration;

use stillpoint_proto::agent::{Mount, StatusRequest, StatusResponse};
use tokio::time::timeout;

use super::{NodeAgents, UnixAgent, unix::described};
use crate::model::VolumeId;

const ANSWER: Duration = Duration::from_secs(5);

/// An agent and the volumes that it sees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentView {
    /// Its version.
    pub version: String,
    /// What is mounted on its node.
    pub mounts: Vec<Mounted>,
}

/// A volume that an agent sees mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounted {
    /// Which.
    pub volume: VolumeId,
    /// `ext4`, `xfs`, …
    pub filesystem: String,
    /// Why it would not be frozen; `None` if it would.
    pub refusal: Option<String>,
}

impl Mounted {
    fn of(mount: Mount) -> Option<Self> {
        Some(Self {
            volume: mount.volume.parse().ok()?,
            filesystem: mount.filesystem,
            refusal: mount.refusal.map(|refusal| refusal.message),
        })
    }
}

impl From<StatusResponse> for AgentView {
    fn from(status: StatusResponse) -> Self {
        Self {
            version: status.version,
            mounts: status.mounts.into_iter().filter_map(Mounted::of).collect(),
        }
    }
}

impl NodeAgents {
    /// Asks the agent of a node, as a hold would.
    ///
    /// # Errors
    /// The reason why it does not tell, for a person.
    pub async fn look(&self, node: &str) -> Result<AgentView, String> {
        let (agent, token) = self.ready(node).await?;
        Ok(agent.status(&token).await?.into())
    }
}

impl UnixAgent {
    /// Asks it.
    ///
    /// # Errors
    /// The reason why it does not tell, for a person.
    pub async fn look(&self) -> Result<AgentView, String> {
        let mut client = self.client.clone();
        let answer = timeout(ANSWER, client.status(StatusRequest {})).await;
        let answer = answer.map_err(|_| format!("no answer within {ANSWER:?}"))?;
        let status = answer.map_err(|status| described(&status))?;
        Ok(status.into_inner().into())
    }
}
