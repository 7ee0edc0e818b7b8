//! What must be known before an agent can be asked: where a volume is mounted, where its node's agent listens, and what
//! to show it.

use std::fmt;

use async_trait::async_trait;

use crate::model::VolumeId;

/// Knows the cluster. Every answer is bounded in time; an error is the reason, for a person.
#[async_trait]
pub trait Directory: Send + Sync {
    /// The nodes to which the volume is attached.
    async fn nodes(&self, volume: &VolumeId) -> Result<Nodes, String>;

    /// The same as far as it is known at this moment, without asking anyone.
    fn nodes_now(&self, volume: &VolumeId) -> Vec<String>;

    /// Where the agent of a node is; `anew` if what was answered before has not led there.
    async fn agent(&self, node: &str, anew: bool) -> Result<AgentAddress, String>;

    /// What to show to agents.
    async fn token(&self) -> Result<Token, String>;
}

/// Where a volume is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nodes {
    /// Their names, each once; none if it is attached nowhere.
    pub names: Vec<String>,
    /// Why this may not be so any more, if it may not.
    pub stale: Option<String>,
}

/// An agent, as its Lease announces it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentAddress {
    /// `IP:PORT`.
    pub authority: String,
    /// SHA-256 of its certificate's DER, in lower-case hex.
    pub fingerprint: String,
}

/// A bearer token, shown by nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// That token.
    pub fn new(secret: String) -> Self {
        Self(secret)
    }

    pub(super) fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}
