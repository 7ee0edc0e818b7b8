//! What `kubectl describe pvc` shows.

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Event;
use kube::Api;
use stillpoint_cluster::until;

use crate::{World, world::SOON};

impl World {
    /// Waits for an Event of that reason on a claim: its message.
    pub async fn told(&self, namespace: &str, claim: &str, reason: &str) -> Result<String> {
        let events: Api<Event> = Api::namespaced(self.client(), namespace);
        let what = format!("an Event {reason} on {namespace}/{claim}");
        until(&what, SOON, async || {
            let mut others = Vec::new();
            for event in events.list(&Default::default()).await? {
                if event.involved_object.name.as_deref() != Some(claim) {
                    continue;
                }
                if event.reason.as_deref() == Some(reason) {
                    return Ok(event.message);
                }
                others.push(event.reason);
            }
            ensure!(others.is_empty(), "only {others:?}");
            Ok(None)
        })
        .await
    }
}
