//! The agents of the nodes where volumes are mounted, found through the cluster.
//!
//! ```text
//!  volumes ─► nodes ─► agents ─► each lets us in ─► hold on all at once ─► one hold, or refusals
//!                        ▲              │ no               │ the connection broke
//!                        └── once anew ◄┴──────────────────┘
//! ```

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use futures::future::join_all;

use super::{
    directory::{Directory, Token},
    hold::AgentHold,
    joint::{Joint, Part},
    reach::{Direct, Reach},
    tcp::TcpAgent,
};
use crate::{
    model::VolumeId,
    ports::{Hold, Holder, HolderError},
};

/// Holds through the agents that a directory knows.
#[derive(Clone)]
pub struct NodeAgents {
    directory: Arc<dyn Directory>,
    reach: Arc<dyn Reach>,
    /// By node.
    agents: Arc<Mutex<HashMap<String, Arc<TcpAgent>>>>,
}

type Ready = (Arc<TcpAgent>, Token);

impl NodeAgents {
    /// Those of that directory, at their addresses.
    pub fn new(directory: Arc<dyn Directory>) -> Self {
        Self::through(directory, Arc::new(Direct))
    }

    /// The same for who cannot connect to their addresses.
    pub fn through(directory: Arc<dyn Directory>, reach: Arc<dyn Reach>) -> Self {
        Self {
            directory,
            reach,
            agents: Arc::default(),
        }
    }

    /// The agent of a node, seen to let us in.
    pub(super) async fn ready(&self, node: &str) -> Result<Ready, String> {
        let token = self.directory.token().await?;
        let mut failed: Option<(Arc<TcpAgent>, String)> = None;
        for anew in [false, true] {
            let agent = match self.find(node, anew).await {
                Ok(agent) => agent,
                Err(reason) => {
                    let before = failed.map(|(_, before)| format!("{before}; then "));
                    return Err(before.unwrap_or_default() + &reason);
                }
            };
            let Err(reason) = agent.prove(&token).await else {
                return Ok((agent, token));
            };
            let reason = format!(
                "the agent of {node} at {}: {reason}",
                agent.address.authority
            );
            match failed {
                // The same agent will not say anything else so soon.
                None => failed = Some((agent, reason)),
                Some((before, _)) if Arc::ptr_eq(&before, &agent) => return Err(reason),
                Some(_) => failed = Some((agent, reason)),
            }
        }
        Err(failed.map(|(_, reason)| reason).unwrap_or_default())
    }

    /// An agent keeps its connection as long as its Lease says the same.
    async fn find(&self, node: &str, anew: bool) -> Result<Arc<TcpAgent>, String> {
        let address = self.directory.agent(node, anew).await?;
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = agents.get(node).filter(|known| known.address == address) {
            return Ok(Arc::clone(known));
        }
        let agent = Arc::new(TcpAgent::new(node, address, Arc::clone(&self.reach))?);
        agents.insert(node.to_owned(), Arc::clone(&agent));
        Ok(agent)
    }

    /// Begins a hold on one node; anew if the agent that was ready is gone.
    async fn begin(
        &self,
        ready: &Ready,
        node: &str,
        hold: &str,
        volumes: &[VolumeId],
        limit: Duration,
    ) -> Result<AgentHold, String> {
        let (agent, token) = ready;
        let not_held = match agent.hold(token, node, hold, volumes, limit).await {
            Err(not_held) if not_held.broken => not_held,
            ended => return ended.map_err(|not_held| agent.did_not_hold(node, &not_held)),
        };
        let before = agent.did_not_hold(node, &not_held);
        let (agent, token) = match self.ready(node).await {
            Ok(ready) => ready,
            Err(reason) => return Err(format!("{before}; then {reason}")),
        };
        tracing::info!(reason = before, "asking the agent once more");
        let begun = agent.hold(&token, node, hold, volumes, limit).await;
        begun.map_err(|not_held| agent.did_not_hold(node, &not_held))
    }

    /// The nodes of a volume.
    async fn locate(&self, volume: &VolumeId) -> Result<Vec<String>, String> {
        let nodes = self.directory.nodes(volume).await?;
        if let Some(stale) = nodes.stale {
            tracing::warn!(%volume, nodes = nodes.names.join(","), stale, "where the volume is may have changed");
        }
        Ok(nodes.names)
    }
}

#[async_trait]
impl Holder for NodeAgents {
    fn expect(&self, volume: &VolumeId) {
        let (agents, volume) = (self.clone(), volume.clone());
        tokio::spawn(async move {
            for node in agents.locate(&volume).await.unwrap_or_default() {
                // What is wrong is told when it matters.
                let _ = agents.ready(&node).await;
            }
        });
    }

    async fn hold(
        &self,
        hold: &str,
        volumes: &[VolumeId],
        limit: Duration,
    ) -> Result<Box<dyn Hold>, HolderError> {
        let located = join_all(volumes.iter().map(|volume| self.locate(volume))).await;
        let mut nodes = BTreeMap::<String, Vec<usize>>::new();
        for (place, names) in located.iter().enumerate() {
            for name in names.iter().flatten() {
                nodes.entry(name.clone()).or_default().push(place);
            }
        }
        let ready = nodes.keys().map(|node| self.ready(node));
        let ready: BTreeMap<_, _> = nodes.keys().cloned().zip(join_all(ready).await).collect();
        // Who cannot be held everywhere is held nowhere.
        let mut refused: Vec<Option<String>> = located
            .into_iter()
            .map(|names| match names {
                Ok(names) if names.is_empty() => {
                    Some("it is attached to no node of the cluster".to_owned())
                }
                Ok(names) => names
                    .iter()
                    .find_map(|node| ready.get(node)?.as_ref().err().cloned()),
                Err(reason) => Some(reason),
            })
            .map(|reason| reason.map(|reason| format!("no agent to freeze with: {reason}")))
            .collect();
        let begins = nodes.iter().filter_map(|(node, places)| {
            let ready = ready.get(node)?.as_ref().ok()?;
            let free = |place: &&usize| refused[**place].is_none();
            let places: Vec<usize> = places.iter().filter(free).copied().collect();
            let asked: Vec<VolumeId> = places.iter().map(|place| volumes[*place].clone()).collect();
            (!asked.is_empty()).then_some(async move {
                (places, self.begin(ready, node, hold, &asked, limit).await)
            })
        });
        let mut parts = Vec::new();
        for (places, begun) in join_all(begins).await {
            match begun {
                Ok(hold) => parts.push(Part::new(places, Box::new(hold))),
                Err(reason) => {
                    for place in places {
                        refused[place].get_or_insert_with(|| reason.clone());
                    }
                }
            }
        }
        let directory = Arc::clone(&self.directory);
        Ok(Box::new(Joint::new(directory, volumes, refused, parts)))
    }
}
