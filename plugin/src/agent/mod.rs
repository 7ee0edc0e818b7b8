//! The node agent as the use cases see it: something that holds filesystems frozen.

mod hold;
mod unix;

use std::sync::Arc;

use async_trait::async_trait;

pub use unix::UnixAgent;

use crate::{
    config::AgentChoice,
    model::DiskId,
    ports::{Hold, Holder, HolderError},
};
use std::time::Duration;

/// What holds the volumes of a location whose `agent` is that. Connects in the background.
pub fn holder(choice: &AgentChoice) -> Arc<dyn Holder> {
    match choice {
        AgentChoice::Auto => Arc::new(NoAgent),
        AgentChoice::Unix(path) => Arc::new(UnixAgent::new(path)),
    }
}

/// `agent: auto` as long as agents are not found through Kubernetes.
struct NoAgent;

#[async_trait]
impl Holder for NoAgent {
    async fn hold(
        &self,
        _hold: &str,
        _volumes: &[DiskId],
        _limit: Duration,
    ) -> Result<Box<dyn Hold>, HolderError> {
        Err(HolderError::NoAgent(
            "this version does not find agents through Kubernetes; `agent: unix:PATH` names one by its socket"
                .to_owned(),
        ))
    }
}
