//! The Leases under which agents announce themselves.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::{api::coordination::v1::Lease, jiff::Timestamp};
use kube::{Api, Client};
use tokio::time::Instant;

use super::patiently;
use crate::agent::AgentAddress;

/// Of their names; the rest is the node's.
pub(super) const PREFIX: &str = "stillpoint-agent-";
const ENDPOINT: &str = "stillpoint.io/endpoint";
const FINGERPRINT: &str = "stillpoint.io/certificate-sha256";
/// Clocks of nodes differ a little.
const SKEW: Duration = Duration::from_secs(2);
/// How long what a Lease said is not asked again.
const REMEMBERED: Duration = Duration::from_secs(10);

/// The agents of a namespace.
pub(super) struct Leases {
    api: Api<Lease>,
    pub(super) namespace: String,
    known: Mutex<HashMap<String, (Instant, AgentAddress)>>,
}

impl Leases {
    pub(super) fn new(client: Client, namespace: String) -> Self {
        Self {
            api: Api::namespaced(client, &namespace),
            namespace,
            known: Mutex::default(),
        }
    }

    /// Where the agent of a node is. What was said a moment ago counts unless `anew`; if nobody answers, so does what
    /// was ever said, for whoever is there must have the certificate that was announced.
    pub(super) async fn agent(&self, node: &str, anew: bool) -> Result<AgentAddress, String> {
        let known = self.known().get(node).cloned();
        if let Some((seen, address)) = &known
            && !anew
            && seen.elapsed() < REMEMBERED
        {
            return Ok(address.clone());
        }
        let name = format!("{PREFIX}{node}");
        let namespace = &self.namespace;
        let lease = match (patiently(self.api.get_opt(&name)).await, known) {
            (Ok(Some(lease)), _) => lease,
            (Ok(None), _) => {
                self.known().remove(node);
                return Err(format!(
                    "node {node} has no agent: there is no Lease {namespace}/{name} (the agents' namespace is \
                     STILLPOINT_NAMESPACE, else Velero's)"
                ));
            }
            (Err(reason), Some((seen, address))) => {
                let seconds = seen.elapsed().as_secs();
                tracing::warn!(
                    node,
                    reason,
                    stale = format!("what is known of Lease {namespace}/{name} is {seconds} s old"),
                    "the agent may be elsewhere by now"
                );
                return Ok(address);
            }
            (Err(reason), None) => {
                return Err(format!("Lease {namespace}/{name} cannot be read: {reason}"));
            }
        };
        let address = address(&lease, Timestamp::now());
        let address =
            address.map_err(|reason| format!("Lease {namespace}/{name} of {node}: {reason}"))?;
        let seen = (Instant::now(), address.clone());
        self.known().insert(node.to_owned(), seen);
        Ok(address)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<String, (Instant, AgentAddress)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a Lease says, if it is good at that time.
fn address(lease: &Lease, now: Timestamp) -> Result<AgentAddress, String> {
    let spec = lease.spec.as_ref();
    let renewed = spec.and_then(|spec| spec.renew_time.as_ref());
    let renewed = renewed.ok_or("it was never renewed")?.0;
    let seconds = spec.and_then(|spec| spec.lease_duration_seconds);
    let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok());
    let good_for = Duration::from_secs(seconds.ok_or("it has no duration")?);
    let age = Duration::try_from(now.duration_since(renewed)).unwrap_or_default();
    if age > good_for + SKEW {
        return Err(format!(
            "stale, so the agent is not running or cannot reach Kubernetes: renewed {} s ago, good for {} s",
            age.as_secs(),
            good_for.as_secs()
        ));
    }
    let annotations = lease.metadata.annotations.as_ref();
    let annotation = |name: &str| annotations.and_then(|all| all.get(name));
    let endpoint = annotation(ENDPOINT).ok_or(format!("no annotation {ENDPOINT}"))?;
    let authority = endpoint.strip_prefix("https://").filter(|rest| {
        rest.rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok())
    });
    let authority =
        authority.ok_or_else(|| format!("{ENDPOINT} is `{endpoint}`, expected https://IP:PORT"))?;
    let fingerprint = annotation(FINGERPRINT).ok_or(format!("no annotation {FINGERPRINT}"))?;
    let is_digest = fingerprint.len() == 64 && fingerprint.bytes().all(|b| b.is_ascii_hexdigit());
    if !is_digest {
        return Err(format!(
            "{FINGERPRINT} is `{fingerprint}`, expected a SHA-256 of 64 hex digits"
        ));
    }
    Ok(AgentAddress {
        authority: authority.to_owned(),
        fingerprint: fingerprint.to_ascii_lowercase(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const DIGEST: &str = "AB34567890123456789012345678901234567890123456789012345678901234";

    fn read(
        endpoint: &str,
        digest: &str,
        renewed: &str,
        seconds: i32,
    ) -> Result<AgentAddress, String> {
        let lease = serde_json::from_value(json!({
            "metadata": { "annotations": { ENDPOINT: endpoint, FINGERPRINT: digest } },
            "spec": { "renewTime": renewed, "leaseDurationSeconds": seconds },
        }));
        address(&lease.unwrap(), "2026-11-23T12:00:00Z".parse().unwrap())
    }

    #[test]
    fn a_good_lease_names_address_and_certificate() {
        for renewed in [
            "2026-11-23T11:59:31.000000Z",
            // A clock that is ahead.
            "2026-11-23T12:00:20.000000Z",
        ] {
            let seen = read("https://[fd00::7]:7443", DIGEST, renewed, 30).unwrap();
            assert_eq!(seen.authority, "[fd00::7]:7443");
            assert_eq!(seen.fingerprint, DIGEST.to_lowercase());
        }
    }

    #[test]
    fn a_lease_that_is_stale_or_cannot_be_read_says_why() {
        const GOOD: &str = "2026-11-23T11:59:50.000000Z";
        const HERE: &str = "https://10.0.0.7:7443";
        for (endpoint, digest, renewed, seconds, expected) in [
            (
                HERE,
                DIGEST,
                "2026-11-23T11:59:27.000000Z",
                30,
                "renewed 33 s ago, good for 30 s",
            ),
            (HERE, DIGEST, GOOD, -1, "no duration"),
            (
                "http://10.0.0.7:7443",
                DIGEST,
                GOOD,
                30,
                "expected https://IP:PORT",
            ),
            ("https://10.0.0.7", DIGEST, GOOD, 30, "`https://10.0.0.7`"),
            (HERE, "beef", GOOD, 30, "`beef`"),
        ] {
            let reason = read(endpoint, digest, renewed, seconds).unwrap_err();
            assert!(reason.contains(expected), "{reason}");
        }
    }
}
