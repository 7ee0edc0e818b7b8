//! What `kubectl describe` shows of claims and VolumeSnapshots.

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Event;
use kube::Api;
use stillpoint_cluster::until;

use crate::{World, world::SOON};

impl World {
    /// Waits for an Event of that reason on a claim: its message.
    pub async fn told(&self, namespace: &str, claim: &str, reason: &str) -> Result<String> {
        self.told_of("PersistentVolumeClaim", namespace, claim, reason)
            .await
    }

    /// The same of an object of any kind.
    pub async fn told_of(
        &self,
        kind: &str,
        namespace: &str,
        name: &str,
        reason: &str,
    ) -> Result<String> {
        let events: Api<Event> = Api::namespaced(self.client(), namespace);
        let what = format!("an Event {reason} on {kind} {namespace}/{name}");
        until(&what, SOON, async || {
            let mut others = Vec::new();
            for event in events.list(&Default::default()).await? {
                let object = &event.involved_object;
                if object.kind.as_deref() != Some(kind) || object.name.as_deref() != Some(name) {
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
