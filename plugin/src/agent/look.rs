//! What an agent says of its node.

use std::time::Duration;

use stillpoint_proto::agent::{StatusRequest, StatusResponse};
use tokio::time::timeout;

use super::{NodeAgents, UnixAgent, unix::described};

const ANSWER: Duration = Duration::from_secs(5);

/// An agent and the volumes that it sees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentView {
    /// Its version.
    pub version: String,
    /// The volumes, each with the reason why it could not be frozen now.
    pub volumes: Vec<(String, Option<String>)>,
}

impl From<StatusResponse> for AgentView {
    fn from(status: StatusResponse) -> Self {
        let volumes = status.mounts.into_iter().map(|mount| {
            let refusal = mount.refusal.map(|refusal| refusal.message);
            (mount.volume, refusal)
        });
        Self {
            version: status.version,
            volumes: volumes.collect(),
        }
    }
}

impl NodeAgents {
    /// Asks the agent of a node, as a hold would.
    ///
    /// # Errors
    /// Why it does not answer us.
    pub async fn look(&self, node: &str) -> Result<AgentView, String> {
        let (agent, token) = self.ready(node).await?;
        Ok(agent.status(&token).await?.into())
    }
}

impl UnixAgent {
    /// Asks it.
    ///
    /// # Errors
    /// Why it does not answer.
    pub async fn look(&self) -> Result<AgentView, String> {
        let mut client = self.client.clone();
        let answer = timeout(ANSWER, client.status(StatusRequest {})).await;
        let answer = answer.map_err(|_| format!("no answer within {ANSWER:?}"))?;
        let status = answer.map_err(|status| described(&status))?;
        Ok(status.into_inner().into())
    }
}
