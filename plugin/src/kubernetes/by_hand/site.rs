//! Where in the cluster a disk can be brought back to.

use std::collections::BTreeSet;

use k8s_openapi::api::{
    core::v1::{Node, PersistentVolume, PersistentVolumeClaim},
    storage::v1::StorageClass,
};
use kube::{Api, ResourceExt, api::ListParams};

use super::{ByHand, answer};
use crate::model::{DiskId, ResourceGroup, Zone, region};

const ZONE: [&str; 2] = [
    "topology.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/zone",
];
const REGION: [&str; 2] = [
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/region",
];
const DISK: &str = "/providers/Microsoft.Compute/disks/x";

/// What there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Site {
    /// Of nodes that take pods; none if they are in none.
    pub zones: BTreeSet<Zone>,
    /// Where the nodes are: `westeurope`.
    pub regions: BTreeSet<String>,
    /// The resource group of the nodes, which the cluster may use.
    pub group: Option<ResourceGroup>,
    /// The names of the storage classes; `None` if we may not know.
    pub classes: Option<Vec<String>>,
    /// The claim that is to be made exists.
    pub claim_exists: bool,
    /// PersistentVolumes that are for that claim already.
    pub reserved: Vec<String>,
}

impl ByHand {
    /// The resource group of the nodes, if they tell.
    ///
    /// # Errors
    /// The reason, for a person.
    pub async fn node_group(&self) -> Result<Option<ResourceGroup>, String> {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let nodes = answer("nodes", nodes.list(&ListParams::default())).await?;
        Ok(of_nodes(&nodes.items).group)
    }

    /// The nodes, each with its zone.
    ///
    /// # Errors
    /// The reason, for a person.
    pub async fn nodes(&self) -> Result<Vec<(String, Option<Zone>)>, String> {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let nodes = answer("nodes", nodes.list(&ListParams::default())).await?;
        let zone = |node: &Node| of_nodes(std::slice::from_ref(node)).zones.pop_first();
        let named = |node: &Node| (node.name_any(), zone(node));
        Ok(nodes.items.iter().map(named).collect())
    }

    /// What there is for a claim of that name.
    ///
    /// # Errors
    /// The reason, for a person.
    pub async fn site(&self, namespace: &str, claim: &str) -> Result<Site, String> {
        let client = || self.client.clone();
        let nodes: Api<Node> = Api::all(client());
        let classes: Api<StorageClass> = Api::all(client());
        let volumes: Api<PersistentVolume> = Api::all(client());
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(client(), namespace);
        let all = ListParams::default();
        let what = format!("PersistentVolumeClaim {namespace}/{claim}");
        let (nodes, classes, volumes, known) = tokio::join!(
            answer("nodes", nodes.list(&all)),
            answer("storage classes", classes.list(&all)),
            answer("PersistentVolumes", volumes.list(&all)),
            answer(&what, claims.get_opt(claim)),
        );
        let mut site = of_nodes(&nodes?.items);
        site.classes = match classes {
            Ok(classes) => Some(classes.items.iter().map(ResourceExt::name_any).collect()),
            Err(reason) => {
                tracing::warn!(reason, "whether the storage class exists is not known");
                None
            }
        };
        site.claim_exists = known?.is_some();
        let volumes = volumes?.items.into_iter();
        site.reserved = volumes
            .filter(|volume| is_for(volume, namespace, claim))
            .map(|volume| volume.name_any())
            .collect();
        Ok(site)
    }
}

/// Whether a volume would be bound to that claim. One that was released by a claim of that name would not.
fn is_for(volume: &PersistentVolume, namespace: &str, claim: &str) -> bool {
    let phase = volume.status.as_ref();
    let phase = phase.and_then(|status| status.phase.as_deref());
    let reference = volume
        .spec
        .as_ref()
        .and_then(|spec| spec.claim_ref.as_ref());
    !matches!(phase, Some("Released" | "Failed"))
        && reference.is_some_and(|reference| {
            reference.namespace.as_deref() == Some(namespace)
                && reference.name.as_deref() == Some(claim)
        })
}

fn of_nodes(nodes: &[Node]) -> Site {
    let mut site = Site::default();
    for node in nodes {
        let label = |keys: [&str; 2]| keys.iter().find_map(|key| node.labels().get(*key));
        site.regions.extend(label(REGION).map(|name| region(name)));
        let spec = node.spec.as_ref();
        let id = spec.and_then(|spec| spec.provider_id.as_deref());
        let group = id.and_then(group_of);
        site.group = site.group.or(group);
        let takes_pods = spec.is_none_or(|spec| spec.unschedulable != Some(true));
        let conditions = node
            .status
            .as_ref()
            .and_then(|status| status.conditions.as_ref());
        let ready = conditions.into_iter().flatten();
        let ready = ready
            .into_iter()
            .any(|one| one.type_ == "Ready" && one.status == "True");
        if takes_pods && ready {
            site.zones
                .extend(label(ZONE).and_then(|zone| zone.parse().ok()));
        }
    }
    site
}

/// `azure:///subscriptions/S/resourceGroups/G/providers/Microsoft.Compute/…`
fn group_of(provider: &str) -> Option<ResourceGroup> {
    let path = provider.strip_prefix("azure://")?;
    let end = path.to_ascii_lowercase().find("/providers/")?;
    let disk: DiskId = format!("{}{DISK}", path.get(..end)?).parse().ok()?;
    Some(disk.group)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(zone: &str, ready: &str, cordoned: bool) -> Node {
        let node = json!({
            "metadata": { "name": "n", "labels": { ZONE[0]: zone, REGION[0]: "westeurope" } },
            "spec": {
                "unschedulable": cordoned,
                "providerID": "azure:///subscriptions/s-1/resourceGroups/mc_shop/providers/\
                    Microsoft.Compute/virtualMachineScaleSets/pool/virtualMachines/0",
            },
            "status": { "conditions": [{ "type": "Ready", "status": ready }] },
        });
        serde_json::from_value(node).unwrap()
    }

    #[test]
    fn zones_are_those_of_nodes_that_take_pods() {
        let site = of_nodes(&[
            node("westeurope-2", "True", false),
            node("westeurope-1", "False", false),
            node("westeurope-3", "True", true),
            // As nodes without a zone are labelled.
            node("0", "True", false),
        ]);
        let zones: Vec<_> = site.zones.iter().map(Zone::to_string).collect();
        assert_eq!(zones, ["westeurope-2"]);
        assert_eq!(site.regions, BTreeSet::from(["westeurope".to_owned()]));
        assert_eq!(
            site.group.unwrap().to_string(),
            "/subscriptions/s-1/resourceGroups/mc_shop"
        );
    }

    #[test]
    fn a_volume_released_by_a_claim_of_that_name_is_not_for_it() {
        for (phase, claim, expected) in [
            ("Bound", "data", true),
            ("Available", "data", true),
            ("Released", "data", false),
            ("Bound", "other", false),
        ] {
            let volume = json!({
                "metadata": { "name": "pv" },
                "spec": { "claimRef": { "namespace": "shop", "name": claim } },
                "status": { "phase": phase },
            });
            let volume = serde_json::from_value(volume).unwrap();
            assert_eq!(is_for(&volume, "shop", "data"), expected, "{phase} {claim}");
        }
    }
}
