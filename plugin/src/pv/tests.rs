use proptest::prelude::*;

use super::*;
use crate::{
    model::{Consistency, ResourceGroup, Sku, SnapshotId},
    snapshot::fake::properties,
};

const HANDLE: &str =
    "/subscriptions/s/resourceGroups/MC_rg/providers/Microsoft.Compute/disks/pvc-1";
const CSI_ZONE: &str = "topology.disk.csi.azure.com/zone";

fn restored(sku: &str, zone: Option<&str>) -> RestoredDisk {
    let group = ResourceGroup {
        subscription: "s".to_owned(),
        name: "new-rg".to_owned(),
    };
    RestoredDisk {
        id: DiskId::new(group.clone(), "restore-1"),
        region: "westeurope".to_owned(),
        zone: zone.map(|zone| zone.parse().unwrap()),
        properties: properties(sku),
        origin: Some(Origin {
            snapshot: SnapshotId::new(group, "snap"),
            consistency: Some(Consistency::Filesystem),
            reason: "held".to_owned(),
        }),
    }
}

fn new_handle() -> String {
    restored("Premium_LRS", None).id.to_string()
}

fn terms(terms: &[&[(&str, &[&str])]]) -> Value {
    let term = |requirements: &&[(&str, &[&str])]| {
        let one = |(key, values): &(&str, &[&str])| json!({ "key": key, "operator": "In", "values": values });
        json!({ "matchExpressions": requirements.iter().map(one).collect::<Vec<_>>() })
    };
    json!({ "required": { "nodeSelectorTerms": terms.iter().map(term).collect::<Vec<_>>() } })
}

/// As external-provisioner and the driver make one.
fn csi() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": "pvc-1",
            "annotations": { "pv.kubernetes.io/provisioned-by": "disk.csi.azure.com" },
            "finalizers": ["kubernetes.io/pv-protection"],
        },
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "capacity": { "storage": "64Gi" },
            "claimRef": { "name": "data-db-0", "namespace": "restored-ns" },
            "csi": {
                "driver": "disk.csi.azure.com",
                "fsType": "ext4",
                "volumeAttributes": {
                    "csi.storage.k8s.io/pv/name": "pvc-1",
                    "csi.storage.k8s.io/pvc/name": "data-db-0",
                    "csi.storage.k8s.io/pvc/namespace": "original-ns",
                    "requestedsizegib": "64",
                    "skuname": "Premium_LRS",
                    "storage.kubernetes.io/csiProvisionerIdentity": "1-2-disk.csi.azure.com",
                },
                "volumeHandle": HANDLE,
                "someFutureField": { "kept": true },
            },
            "nodeAffinity": terms(&[&[(CSI_ZONE, &["westeurope-1"])]]),
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": "managed-csi-premium",
        },
        "status": { "phase": "Bound" },
    })
}

/// As the in-tree driver made one, before 1.17 with the old labels.
fn in_tree() -> Value {
    json!({
        "metadata": {
            "name": "pvc-2",
            "annotations": {
                "pv.kubernetes.io/provisioned-by": "kubernetes.io/azure-disk",
                "pv.kubernetes.io/migrated-to": "disk.csi.azure.com",
            },
            "labels": {
                "failure-domain.beta.kubernetes.io/region": "westeurope",
                "failure-domain.beta.kubernetes.io/zone": "westeurope-1",
                "app": "db",
            },
        },
        "spec": {
            "azureDisk": {
                "cachingMode": "ReadOnly",
                "diskName": "pvc-2",
                "diskURI": HANDLE,
                "fsType": "xfs",
                "kind": "Managed",
                "readOnly": false,
            },
            "nodeAffinity": terms(&[&[
                ("failure-domain.beta.kubernetes.io/region", &["westeurope"]),
                ("failure-domain.beta.kubernetes.io/zone", &["westeurope-1"]),
            ]]),
            "storageClassName": "managed-premium",
        },
    })
}

fn set(pv: Value, disk: &RestoredDisk) -> Value {
    set_volume(pv, disk, true).unwrap()
}

#[test]
fn a_managed_disks_id_is_found_in_any_case() {
    assert_eq!(volume_id(&csi()).unwrap().as_deref(), Some(HANDLE));
    assert_eq!(volume_id(&in_tree()).unwrap().as_deref(), Some(HANDLE));
    let mut lower = csi();
    lower["spec"]["csi"]["volumeHandle"] = json!(HANDLE.to_lowercase());
    assert_eq!(volume_id(&lower).unwrap(), Some(HANDLE.to_lowercase()));
}

#[test]
fn other_volumes_are_not_ours() {
    for source in [
        json!({ "csi": { "driver": "file.csi.azure.com", "volumeHandle": "x" } }),
        json!({ "nfs": { "server": "a", "path": "/" } }),
        json!({ "azureFile": { "shareName": "a" } }),
    ] {
        assert_eq!(volume_id(&json!({ "spec": source })), Ok(None), "{source}");
    }
}

#[test]
fn what_is_malformed_is_never_silently_skipped() {
    for (source, part) in [
        (
            json!({ "csi": { "driver": DRIVER, "volumeHandle": "pvc-1" } }),
            "`pvc-1`",
        ),
        (
            json!({ "csi": { "driver": DRIVER } }),
            "spec.csi.volumeHandle",
        ),
        (
            json!({ "csi": { "driver": DRIVER, "volumeHandle": 7 } }),
            "spec.csi.volumeHandle",
        ),
        (
            json!({ "azureDisk": { "diskName": "d" } }),
            "spec.azureDisk.diskURI",
        ),
        (
            json!({ "azureDisk": { "kind": "Dedicated", "diskURI": "https://x/y.vhd" } }),
            "expected Managed",
        ),
        (json!(null), "`spec`"),
    ] {
        let error =
            volume_id(&json!({ "metadata": { "name": "pv-7" }, "spec": source })).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("`pv-7`") && error.contains(part), "{error}");
    }
}

#[test]
fn a_csi_volume_tells_the_truth_about_another_zone() {
    let pv = set(csi(), &restored("Premium_LRS", Some("westeurope-3")));
    assert_eq!(pv["spec"]["csi"]["volumeHandle"], new_handle());
    assert_eq!(
        pv["spec"]["nodeAffinity"],
        terms(&[&[(CSI_ZONE, &["westeurope-3"])]])
    );
    assert_eq!(
        pv["metadata"]["labels"],
        json!({
            "topology.kubernetes.io/zone": "westeurope-3",
            "topology.kubernetes.io/region": "westeurope",
        })
    );
    assert_eq!(
        pv["spec"]["csi"]["volumeAttributes"],
        json!({
            "csi.storage.k8s.io/pvc/name": "data-db-0",
            "csi.storage.k8s.io/pvc/namespace": "restored-ns",
            "requestedsizegib": "64",
            "skuname": "Premium_LRS",
            "storage.kubernetes.io/csiProvisionerIdentity": "1-2-disk.csi.azure.com",
        })
    );
    let annotations = &pv["metadata"]["annotations"];
    assert_eq!(annotations["stillpoint.io/consistency"], "filesystem");
    assert_eq!(annotations["stillpoint.io/consistency-reason"], "held");
    assert_eq!(
        annotations["stillpoint.io/zone"],
        pv["metadata"]["labels"]["topology.kubernetes.io/zone"]
    );
    assert!(
        annotations["stillpoint.io/snapshot"]
            .as_str()
            .unwrap()
            .ends_with("/snapshots/snap")
    );
    assert_eq!(
        pv["spec"]["csi"]["someFutureField"],
        json!({ "kept": true })
    );
    assert_eq!(pv["status"], csi()["status"]);
    assert_eq!(pv["spec"]["capacity"], csi()["spec"]["capacity"]);
}

#[test]
fn affinity_is_right_wherever_the_disk_is() {
    let all: &[&[(&str, &[&str])]] = &[
        &[(CSI_ZONE, &["westeurope-1"])],
        &[(CSI_ZONE, &["westeurope-2"])],
        &[(CSI_ZONE, &["westeurope-3"])],
        &[(CSI_ZONE, &[""])],
    ];
    let host = ("kubernetes.io/hostname", &["node-1"][..]);
    let generic = "topology.kubernetes.io/zone";
    for (name, given, sku, zone, expected) in [
        (
            "zonal to regional",
            Some(terms(&all[..1])),
            "Premium_LRS",
            None,
            Some(terms(&all[3..])),
        ),
        (
            "zonal to redundant",
            Some(terms(&all[..1])),
            "Premium_ZRS",
            None,
            Some(terms(all)),
        ),
        (
            "redundant to zonal",
            Some(terms(all)),
            "Premium_LRS",
            Some("westeurope-2"),
            Some(terms(&all[1..2])),
        ),
        (
            "redundant",
            Some(terms(all)),
            "Premium_ZRS",
            None,
            Some(terms(all)),
        ),
        (
            "none and zonal",
            None,
            "Premium_LRS",
            Some("westeurope-2"),
            Some(terms(&all[1..2])),
        ),
        ("none and regional", None, "Premium_LRS", None, None),
        (
            "the generic key stays",
            Some(terms(&[&[(generic, &["westeurope-1"])]])),
            "Premium_LRS",
            Some("westeurope-2"),
            Some(terms(&[&[(generic, &["westeurope-2"])]])),
        ),
        (
            "the generic key and redundant",
            Some(terms(&[&[(generic, &["westeurope-1"])]])),
            "Premium_ZRS",
            None,
            None,
        ),
        (
            "what else is asked for stays",
            Some(terms(&[&[host, (CSI_ZONE, &["westeurope-1"])]])),
            "Premium_LRS",
            Some("westeurope-2"),
            Some(terms(&[&[(CSI_ZONE, &["westeurope-2"]), host]])),
        ),
    ] {
        let mut pv = csi();
        match given {
            Some(affinity) => pv["spec"]["nodeAffinity"] = affinity,
            None => drop(
                pv["spec"]
                    .as_object_mut()
                    .unwrap()
                    .shift_remove("nodeAffinity"),
            ),
        }
        let pv = set(pv, &restored(sku, zone));
        assert_eq!(pv["spec"].get("nodeAffinity"), expected.as_ref(), "{name}");
    }
}

#[test]
fn a_disk_without_a_zone_has_no_zone_labels() {
    let mut pv = in_tree();
    pv["metadata"]["labels"]["topology.kubernetes.io/zone"] = json!("westeurope-1");
    let pv = set(pv, &restored("Premium_ZRS", None));
    assert_eq!(
        pv["metadata"]["labels"],
        json!({ "failure-domain.beta.kubernetes.io/region": "westeurope", "app": "db" })
    );
}

#[test]
fn an_in_tree_volume_becomes_csi() {
    let pv = set(in_tree(), &restored("Premium_LRS", Some("westeurope-2")));
    let spec = &pv["spec"];
    assert!(spec.get("azureDisk").is_none());
    assert_eq!(
        spec["csi"],
        json!({
            "driver": "disk.csi.azure.com",
            "fsType": "xfs",
            "volumeAttributes": {
                "kind": "Managed",
                "cachingMode": "ReadOnly",
                "fsType": "xfs",
                "skuName": "Premium_LRS",
            },
            "volumeHandle": new_handle(),
        })
    );
    let region = (
        "failure-domain.beta.kubernetes.io/region",
        &["westeurope"][..],
    );
    assert_eq!(
        spec["nodeAffinity"],
        terms(&[&[(CSI_ZONE, &["westeurope-2"]), region]])
    );
    assert_eq!(
        pv["metadata"]["labels"],
        json!({
            "failure-domain.beta.kubernetes.io/region": "westeurope",
            "failure-domain.beta.kubernetes.io/zone": "westeurope-2",
            "app": "db",
            "topology.kubernetes.io/zone": "westeurope-2",
            "topology.kubernetes.io/region": "westeurope",
        })
    );
    let annotations = &pv["metadata"]["annotations"];
    assert_eq!(
        annotations["pv.kubernetes.io/provisioned-by"],
        "disk.csi.azure.com"
    );
    assert!(annotations.get("pv.kubernetes.io/migrated-to").is_none());
    assert_eq!(spec["storageClassName"], "managed-premium");
}

#[test]
fn an_in_tree_volume_without_zones_stays_on_its_fault_domains_or_becomes_csi() {
    let region = (
        "failure-domain.beta.kubernetes.io/region",
        &["westeurope"][..],
    );
    let zone = "failure-domain.beta.kubernetes.io/zone";
    let domains = terms(&[
        &[region, (zone, &["0"])],
        &[region, (zone, &["1"])],
        &[region, (zone, &["2"])],
    ]);
    let mut pv = in_tree();
    pv["spec"]["nodeAffinity"] = domains.clone();
    let disk = restored("Premium_LRS", None);
    let stays = set_volume(pv.clone(), &disk, false).unwrap();
    assert_eq!(stays["spec"]["nodeAffinity"], domains);
    let becomes = set_volume(pv, &disk, true).unwrap();
    assert_eq!(
        becomes["spec"]["nodeAffinity"],
        terms(&[&[(CSI_ZONE, &[""]), region]])
    );
}

#[test]
fn an_in_tree_volume_stays_in_tree_if_told() {
    let disk = restored("PremiumV2_LRS", Some("westeurope-2"));
    let pv = set_volume(in_tree(), &disk, false).unwrap();
    let source = &pv["spec"]["azureDisk"];
    assert_eq!(
        (&source["diskName"], &source["diskURI"]),
        (&json!("restore-1"), &json!(new_handle()))
    );
    assert_eq!(source["cachingMode"], "None");
    let zone = (
        "failure-domain.beta.kubernetes.io/zone",
        &["westeurope-2"][..],
    );
    let region = (
        "failure-domain.beta.kubernetes.io/region",
        &["westeurope"][..],
    );
    assert_eq!(pv["spec"]["nodeAffinity"], terms(&[&[zone, region]]));
    let annotations = &pv["metadata"]["annotations"];
    assert_eq!(
        annotations["pv.kubernetes.io/provisioned-by"],
        "kubernetes.io/azure-disk"
    );
}

#[test]
fn a_volume_that_becomes_premium_v2_says_so() {
    let mut disk = restored("PremiumV2_LRS", Some("westeurope-2"));
    disk.properties.logical_sector_size = Some(512);
    disk.properties.iops_read_write = Some(5000);
    let mut pv = csi();
    pv["spec"]["csi"]["volumeAttributes"] = json!({
        "storageaccounttype": "Premium_LRS",
        "cachingmode": "ReadOnly",
        "DiskIOPSReadWrite": "100",
        "DiskMBpsReadWrite": "10",
        "resourceGroup": "MC_rg",
    });
    assert_eq!(
        set(pv, &disk)["spec"]["csi"]["volumeAttributes"],
        json!({
            "storageaccounttype": "PremiumV2_LRS",
            "cachingmode": "None",
            "DiskIOPSReadWrite": "5000",
            "resourceGroup": "new-rg",
            "LogicalSectorSize": "512",
        })
    );
    let mut pv = csi();
    pv["spec"]["csi"]
        .as_object_mut()
        .unwrap()
        .shift_remove("volumeAttributes");
    assert_eq!(
        set(pv, &disk)["spec"]["csi"]["volumeAttributes"],
        json!({ "skuName": "PremiumV2_LRS", "LogicalSectorSize": "512", "cachingMode": "None" })
    );
}

#[test]
fn a_disk_of_unknown_origin_claims_nothing() {
    let mut pv = csi();
    pv["metadata"]["annotations"]["stillpoint.io/consistency"] = json!("filesystem");
    let disk = RestoredDisk {
        origin: None,
        ..restored("Premium_LRS", None)
    };
    let pv = set(pv, &disk);
    assert_eq!(
        pv["metadata"]["annotations"],
        json!({ "pv.kubernetes.io/provisioned-by": "disk.csi.azure.com" })
    );
}

#[test]
fn a_pv_that_is_not_ours_is_refused() {
    let disk = restored("Premium_LRS", None);
    for (pv, part) in [
        (
            json!({ "metadata": {}, "spec": { "nfs": {} } }),
            "spec.csi or spec.azureDisk",
        ),
        (json!({ "spec": { "csi": { "driver": "x" } } }), "`x`"),
        (json!({ "metadata": {} }), "`spec`"),
        (json!([]), "`spec`"),
        (
            json!({ "spec": { "csi": { "driver": DRIVER } } }),
            "`metadata`",
        ),
        (
            json!({ "metadata": { "labels": 7 }, "spec": { "csi": { "driver": DRIVER } } }),
            "`labels`",
        ),
    ] {
        let error = set_volume(pv, &disk, true).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        "[a-z/.]{0,12}".prop_map(Value::from)
    ];
    let key = prop::sample::select(vec![
        "metadata",
        "spec",
        "csi",
        "azureDisk",
        "driver",
        "labels",
        "annotations",
        "nodeAffinity",
        "required",
        "nodeSelectorTerms",
        "matchExpressions",
        "key",
        "values",
        "volumeAttributes",
        "claimRef",
        "kind",
    ]);
    leaf.prop_recursive(6, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::vec((key.clone(), inner), 0..6).prop_map(|pairs| pairs
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect()),
        ]
    })
}

proptest! {
    #[test]
    fn no_json_makes_it_panic(pv in any_json(), spec in any_json(), driver in any::<bool>()) {
        let disk = restored("PremiumV2_LRS", Some("westeurope-2"));
        let _ = (volume_id(&pv), set_volume(pv, &disk, true));
        if let Value::Object(mut spec) = spec {
            if driver {
                spec.insert("csi".to_owned(), json!({ "driver": DRIVER }));
            }
            let pv = json!({ "metadata": {}, "spec": spec });
            let _ = (volume_id(&pv), set_volume(pv.clone(), &disk, false), set_volume(pv, &disk, true));
        }
    }

    #[test]
    fn setting_a_volume_twice_is_setting_it_once(zonal in any::<bool>(), sku in prop::sample::select(vec!["Premium_LRS", "Premium_ZRS", "UltraSSD_LRS"])) {
        let zone = (zonal && !Sku::new(sku).is_zone_redundant()).then_some("westeurope-2");
        let disk = restored(sku, zone);
        for pv in [csi(), in_tree()] {
            let once = set(pv, &disk);
            prop_assert_eq!(&set(once.clone(), &disk), &once);
        }
    }
}
