//! A new PersistentVolume, and its claim, for a restored disk.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    DRIVER, OLD_REGION_LABEL, OLD_ZONE_LABEL, PvError, RestoredDisk, affinity, set_volume,
};
use crate::model::Zone;

/// What a claim is to be like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fresh {
    /// The claim's namespace.
    pub namespace: String,
    /// The claim's name.
    pub claim: String,
    /// Empty: of no class.
    pub storage_class: String,
    /// The disk's size.
    pub gibibytes: u32,
    /// `ReadWriteOnce` and so on.
    pub access_modes: Vec<String>,
    /// A raw device.
    pub block: bool,
    /// `ext4`, …; `None`: the driver's default.
    pub filesystem: Option<String>,
    /// `Retain` or `Delete`.
    pub reclaim_policy: String,
    /// As an `azureDisk` of before CSI.
    pub in_tree: bool,
    /// The claim's.
    pub labels: BTreeMap<String, String>,
}

impl Fresh {
    /// The PersistentVolume that is the disk, reserved for the claim.
    ///
    /// # Errors
    /// None that is known: what is written here can be read.
    pub fn volume(&self, disk: &RestoredDisk) -> Result<Value, PvError> {
        let capacity = format!("{}Gi", self.gibibytes);
        let mut pv = json!({
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": { "name": disk.id.name.to_ascii_lowercase() },
            "spec": {
                "capacity": { "storage": capacity },
                "accessModes": self.access_modes,
                "volumeMode": self.mode(),
                "persistentVolumeReclaimPolicy": self.reclaim_policy,
                "storageClassName": self.storage_class,
                "claimRef": {
                    "apiVersion": "v1",
                    "kind": "PersistentVolumeClaim",
                    "namespace": self.namespace,
                    "name": self.claim,
                },
            },
        });
        let (source, key) = if self.in_tree {
            let mut source = json!({ "kind": "Managed", "cachingMode": "ReadOnly" });
            if let Some(filesystem) = self.filesystem() {
                source["fsType"] = json!(filesystem);
            }
            // Which of the labels are to be there is told by what was there.
            pv["metadata"]["labels"] = json!({ OLD_ZONE_LABEL: "", OLD_REGION_LABEL: "" });
            (("azureDisk", source), OLD_ZONE_LABEL)
        } else {
            let mut source = json!({ "driver": DRIVER, "volumeHandle": "" });
            if let Some(filesystem) = self.filesystem() {
                source["fsType"] = json!(filesystem);
            }
            source["volumeAttributes"] = json!({});
            (("csi", source), affinity::DRIVERS_ZONE)
        };
        pv["spec"][source.0] = source.1;
        pv["spec"]["nodeAffinity"] = required(key);
        set_volume(pv, disk, false)
    }

    /// The claim, for that volume and no other.
    pub fn claim(&self, volume: &Value) -> Value {
        let mut claim = json!({
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": { "name": self.claim, "namespace": self.namespace },
            "spec": {
                "accessModes": self.access_modes,
                "resources": { "requests": { "storage": volume["spec"]["capacity"]["storage"] } },
                "storageClassName": self.storage_class,
                "volumeMode": self.mode(),
                "volumeName": volume["metadata"]["name"],
            },
        });
        if !self.labels.is_empty() {
            claim["metadata"]["labels"] = json!(self.labels);
        }
        claim
    }

    fn mode(&self) -> &'static str {
        if self.block { "Block" } else { "Filesystem" }
    }

    fn filesystem(&self) -> Option<&str> {
        self.filesystem.as_deref().filter(|_| !self.block)
    }
}

fn required(key: &str) -> Value {
    json!({ "required": { "nodeSelectorTerms": [{ "matchExpressions": [
        { "key": key, "operator": "In", "values": [] },
    ] }] } })
}

/// The zone that a PersistentVolume says it is in; `None` if in none, or in several.
pub fn zone(pv: &Value) -> Option<Zone> {
    let label = |key| pv["metadata"]["labels"][key].as_str()?.parse().ok();
    let labelled = label(super::ZONE_LABEL).or_else(|| label(OLD_ZONE_LABEL));
    labelled.or_else(|| affinity::only_zone(&pv["spec"]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::fake;

    fn disk(sku: &str, zone: Option<&str>) -> RestoredDisk {
        RestoredDisk {
            id: fake::disk_id("data-1"),
            region: "westeurope".to_owned(),
            zone: zone.map(|zone| zone.parse().unwrap()),
            properties: fake::properties(sku),
            origin: None,
        }
    }

    fn fresh(in_tree: bool) -> Fresh {
        Fresh {
            namespace: "shop".into(),
            claim: "data".into(),
            storage_class: "managed-csi".into(),
            gibibytes: 4,
            access_modes: vec!["ReadWriteOnce".into()],
            filesystem: Some("ext4".into()),
            reclaim_policy: "Retain".into(),
            in_tree,
            ..Fresh::default()
        }
    }

    fn terms(pv: &Value) -> &Value {
        &pv["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"]
    }

    #[test]
    fn a_csi_volume_says_where_its_disk_is() {
        let pv = fresh(false)
            .volume(&disk("Premium_LRS", Some("westeurope-2")))
            .unwrap();
        let csi = &pv["spec"]["csi"];
        assert_eq!(csi["volumeHandle"], fake::disk_id("data-1").to_string());
        assert_eq!(csi["fsType"], "ext4");
        assert_eq!(
            pv["metadata"]["labels"],
            json!({
                "topology.kubernetes.io/zone": "westeurope-2",
                "topology.kubernetes.io/region": "westeurope",
            })
        );
        assert_eq!(
            terms(&pv),
            &json!([{ "matchExpressions": [{
            "key": "topology.disk.csi.azure.com/zone", "operator": "In", "values": ["westeurope-2"],
        }] }])
        );
        assert_eq!(pv["spec"]["capacity"]["storage"], "4Gi");
        assert_eq!(zone(&pv), Some("westeurope-2".parse().unwrap()));
    }

    #[test]
    fn a_disk_in_no_zone_goes_to_nodes_in_none_and_a_redundant_one_anywhere() {
        let pv = fresh(false).volume(&disk("Premium_LRS", None)).unwrap();
        assert_eq!(terms(&pv)[0]["matchExpressions"][0]["values"], json!([""]));
        let pv = fresh(false).volume(&disk("Premium_ZRS", None)).unwrap();
        assert_eq!(terms(&pv).as_array().unwrap().len(), 4);
        assert_eq!(zone(&pv), None);
    }

    #[test]
    fn an_in_tree_volume_has_the_old_labels_too() {
        let pv = fresh(true)
            .volume(&disk("Premium_LRS", Some("westeurope-2")))
            .unwrap();
        assert_eq!(pv["spec"]["azureDisk"]["diskName"], "data-1");
        let labels = &pv["metadata"]["labels"];
        assert_eq!(labels[OLD_ZONE_LABEL], "westeurope-2");
        assert_eq!(labels[OLD_REGION_LABEL], "westeurope");
        assert_eq!(terms(&pv)[0]["matchExpressions"][0]["key"], OLD_ZONE_LABEL);
    }

    #[test]
    fn the_claim_is_for_that_volume_alone() {
        let fresh = fresh(false);
        let pv = fresh
            .volume(&disk("Premium_LRS", Some("westeurope-2")))
            .unwrap();
        let claim = fresh.claim(&pv);
        assert_eq!(claim["spec"]["volumeName"], pv["metadata"]["name"]);
        assert_eq!(claim["spec"]["resources"]["requests"]["storage"], "4Gi");
        assert_eq!(pv["spec"]["claimRef"]["name"], claim["metadata"]["name"]);
    }
}
