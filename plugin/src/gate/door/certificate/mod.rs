//! The gate's certificate: one for all replicas, shared by a Secret, made and renewed by whoever sees first that it must be.
//!
//! ```text
//!            Secret: leaf, key, authorities               webhook configuration
//!   none, unfit, old ──► made anew ──► written if it ──► its authorities are the ──► served, once API servers
//!    ▲                   (the old       is still what     caBundle of every           can know that
//!    │                   authority      was seen          webhook
//!    └─── read again ◄── is kept) ◄── every minute ◄───────────────────────────────────────┘
//! ```
//!
//! The authority of a certificate signs nothing else and its key is forgotten at once. With files (cert-manager) there is
//! none of this: they are read again when they change.

mod check;
mod files;
mod issue;
mod keeper;
#[cfg(test)]
mod tests;

use std::{fmt, net::IpAddr, time::Duration};

use async_trait::async_trait;
use thiserror::Error;

pub(super) use self::{
    check::{is_served, roots},
    files::Files,
    keeper::Keeper,
};

/// What the Secret holds, in PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Material {
    /// `tls.crt`
    pub certificate: Vec<u8>,
    /// `tls.key`
    pub key: Vec<u8>,
    /// `ca.crt`: of this certificate and of those before it that may still be served.
    pub authorities: Vec<u8>,
}

impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let certificate = String::from_utf8_lossy(&self.certificate);
        let fields = &mut f.debug_struct("Material");
        fields
            .field("certificate", &certificate)
            .finish_non_exhaustive()
    }
}

/// The Secret as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its `resourceVersion`.
    pub version: String,
    /// What it holds; empty where it lacks a key.
    pub material: Material,
}

/// The webhook configuration as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    /// Its `resourceVersion`.
    pub version: String,
    /// Each webhook's name and `caBundle`.
    pub webhooks: Vec<(String, Vec<u8>)>,
}

/// Why the cluster did not do it.
#[derive(Debug, Error)]
pub enum ClusterError {
    /// Somebody was quicker: look again.
    #[error("it was changed meanwhile")]
    Changed,
    /// All else, in a sentence.
    #[error("{0}")]
    Failed(String),
}

/// Where replicas share their certificate, and API servers learn to trust it.
#[async_trait]
pub trait Cluster: Send + Sync + 'static {
    /// Of this gate: its Service and Secret are there.
    fn namespace(&self) -> &str;

    /// The Secret; `None` if there is none.
    async fn stored(&self) -> Result<Option<Stored>, ClusterError>;

    /// Makes the Secret, or replaces what was `seen` of it.
    async fn store(&self, material: &Material, seen: Option<&str>) -> Result<(), ClusterError>;

    /// The webhook configuration; `None` if there is none.
    async fn trust(&self) -> Result<Option<Trust>, ClusterError>;

    /// Has API servers trust these authorities for every webhook of what was `seen`.
    async fn set_trust(&self, seen: &Trust, authorities: &[u8]) -> Result<(), ClusterError>;
}

/// What clients call the gate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) hosts: Vec<String>,
    pub(super) addresses: Vec<IpAddr>,
}

impl Names {
    /// As API servers name a Service that a webhook refers to.
    pub(super) fn of_service(service: &str, namespace: &str, address: Option<IpAddr>) -> Self {
        Self {
            hosts: vec![format!("{service}.{namespace}.svc")],
            addresses: address.into_iter().collect(),
        }
    }

    fn add(&mut self, others: &Self) {
        for host in &others.hosts {
            if !self.hosts.contains(host) {
                self.hosts.push(host.clone());
            }
        }
        for address in &others.addresses {
            if !self.addresses.contains(address) {
                self.addresses.push(*address);
            }
        }
    }
}

/// How long certificates live, and how often it is looked.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Of a new certificate. It is replaced when less than a third of it is left.
    pub lifetime: Duration,
    /// From one look at the Secret and the webhook configuration, or at the files, to the next.
    pub look: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            lifetime: Duration::from_secs(90 * 24 * 3600),
            look: Duration::from_secs(60),
        }
    }
}

/// For the tests of the door, good for that address.
#[cfg(test)]
pub(super) fn made_for(address: IpAddr) -> Material {
    let names = Names::of_service("stillpoint-gate", "velero", Some(address));
    let lifetime = Pace::default().lifetime;
    issue::issue(&names, std::time::SystemTime::now(), lifetime, b"").expect("a certificate")
}
