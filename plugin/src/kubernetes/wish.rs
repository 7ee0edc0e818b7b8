//! What owners ask for: the annotation `stillpoint.io/freeze` on pod, PVC, PV, namespace; the nearest counts.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Namespace, PersistentVolumeClaim};
use kube::{Api, Client};

use super::{Cluster, patiently, pod::PodUse, volume::Volume};
use crate::config::FreezeMode;

pub(super) const ANNOTATION: &str = "stillpoint.io/freeze";

type Annotations = Option<BTreeMap<String, String>>;

/// What is asked for a PV. What cannot be read asks for nothing, and that is told.
pub(super) async fn of(cluster: &Cluster, volume: &Volume) -> Option<FreezeMode> {
    let own = || volume.wish.as_deref().and_then(|wish| read(wish, "PV"));
    let Some(claim) = &volume.claim else {
        return own();
    };
    let (namespace, name) = (&claim.namespace, &claim.name);
    let (pods, pvc, around) = tokio::join!(
        cluster.pods.of(claim),
        pvc(&cluster.client, namespace, name),
        around(&cluster.client, namespace),
    );
    let silent = |what: &str, reason: String| {
        tracing::warn!(
            volume = %volume.id, namespace, pvc = name, what, reason,
            "the annotation {ANNOTATION} cannot be looked up there, and counts as not set"
        );
    };
    let pods = pods.unwrap_or_else(|reason| {
        silent("pods", reason);
        Vec::new()
    });
    let pvc = pvc.unwrap_or_else(|reason| {
        silent("PVC", reason);
        None
    });
    let around = around.unwrap_or_else(|reason| {
        silent("namespace", reason);
        None
    });
    nearest(&pods)
        .or_else(|| annotated(&pvc, "PVC"))
        .or_else(own)
        .or_else(|| annotated(&around, "namespace"))
}

async fn pvc(client: &Client, namespace: &str, name: &str) -> Result<Annotations, String> {
    let api: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), namespace);
    let pvc = patiently(api.get_metadata_opt(name)).await?;
    Ok(pvc.and_then(|pvc| pvc.metadata.annotations))
}

async fn around(client: &Client, name: &str) -> Result<Annotations, String> {
    let api: Api<Namespace> = Api::all(client.clone());
    let namespace = patiently(api.get_metadata_opt(name)).await?;
    Ok(namespace.and_then(|namespace| namespace.metadata.annotations))
}

/// Of several pods that share a volume the strictest counts.
fn nearest(pods: &[PodUse]) -> Option<FreezeMode> {
    let wishes = pods
        .iter()
        .filter_map(|pod| read(pod.wish.as_deref()?, "pod"));
    wishes.max_by_key(|wish| wish.strictness())
}

fn annotated(annotations: &Annotations, whose: &str) -> Option<FreezeMode> {
    read(annotations.as_ref()?.get(ANNOTATION)?, whose)
}

pub(super) fn read(value: &str, whose: &str) -> Option<FreezeMode> {
    match value.parse() {
        Ok(mode) => Some(mode),
        Err(reason) => {
            tracing::warn!(
                reason,
                "annotation {ANNOTATION} of a {whose} counts as not set"
            );
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_pods_that_share_a_volume_the_strictest_counts() {
        for (wishes, expected) in [
            (&[][..], None),
            (&["off"], Some(FreezeMode::Off)),
            (&["off", "required", "auto"], Some(FreezeMode::Required)),
            (&["off", "auto"], Some(FreezeMode::Auto)),
            (&["Required", "off"], Some(FreezeMode::Off)),
        ] {
            let pods = wishes.iter().map(|wish| PodUse {
                claims: vec![],
                node: None,
                wish: Some((*wish).to_owned()),
            });
            assert_eq!(nearest(&pods.collect::<Vec<_>>()), expected, "{wishes:?}");
        }
    }
}
