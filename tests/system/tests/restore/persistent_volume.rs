//! PVs before and after a restore: which disk they stand for.

use serde_json::{Value, json};
use stillpoint_lab::{Sku, host::Snapshotter};
use stillpoint_system::cloud::Cloud;

use crate::shapes::{csi, in_tree};

struct Restored {
    snapshot: String,
    disk: String,
    consistency: String,
    reason: String,
}

async fn restored(cloud: &Cloud, with: &Snapshotter, name: &str, zone: &str) -> Restored {
    let disk = cloud.premium(name);
    let snapshot = cloud.snapshot_of_lost(with, &disk).await.unwrap();
    let tags = cloud.lab.snapshot(&snapshot.parse().unwrap()).unwrap().tags;
    let disk = with
        .create_volume(&snapshot, "Premium_LRS", zone, None)
        .await;
    Restored {
        snapshot,
        disk: disk.unwrap(),
        consistency: tags["stillpoint-consistency"].clone(),
        reason: tags["stillpoint-reason"].clone(),
    }
}

fn annotate(pv: &mut Value, restored: &Restored, zone: &str) {
    let annotations = &mut pv["metadata"]["annotations"];
    annotations["stillpoint.io/zone"] = json!(zone);
    annotations["stillpoint.io/snapshot"] = json!(restored.snapshot);
    annotations["stillpoint.io/consistency"] = json!(restored.consistency);
    annotations["stillpoint.io/consistency-reason"] = json!(restored.reason);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_csi_pv_tells_the_truth_also_by_a_process_that_did_not_make_the_disk() {
    let Some(cloud) = Cloud::start().await.unwrap() else {
        return;
    };
    let plugin = cloud.plugin().await.unwrap();
    let snapshotter = cloud.snapshotter(&plugin, &[]).await.unwrap();
    let old = csi(&cloud.lab.disk_id("old").to_string());
    let made = restored(&cloud, &snapshotter, "old", "westeurope-2").await;
    let mut expected = old.clone();
    annotate(&mut expected, &made, "westeurope-2");
    expected["metadata"]["labels"]["topology.kubernetes.io/zone"] = json!("westeurope-2");
    expected["spec"]["csi"]["volumeHandle"] = json!(made.disk);
    let attributes = expected["spec"]["csi"]["volumeAttributes"]
        .as_object_mut()
        .unwrap();
    attributes.shift_remove("csi.storage.k8s.io/pv/name");
    attributes["csi.storage.k8s.io/pvc/namespace"] = json!("restored");
    expected["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"][0]["matchExpressions"][0]["values"] =
        json!(["westeurope-2"]);

    let got = snapshotter.set_volume_id(&old, &made.disk).await.unwrap();
    assert_eq!(got, expected);
    assert_eq!(
        snapshotter.volume_id(&got).await.unwrap(),
        Some(made.disk.clone())
    );
    plugin.shut_down().await.unwrap();
    let plugin = cloud.plugin().await.unwrap();
    let snapshotter = cloud.snapshotter(&plugin, &[]).await.unwrap();
    let got = snapshotter.set_volume_id(&old, &made.disk).await.unwrap();
    assert_eq!(got, expected, "after a restart");
    let bare = made.disk.rsplit_once('/').unwrap().1;
    let got = snapshotter.set_volume_id(&old, bare).await.unwrap();
    assert_eq!(got, expected, "by its bare name");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_in_tree_pv_becomes_csi_or_stays() {
    let Some(cloud) = Cloud::start().await.unwrap() else {
        return;
    };
    let plugin = cloud.plugin().await.unwrap();
    let snapshotter = cloud.snapshotter(&plugin, &[]).await.unwrap();
    let old = in_tree(&cloud.lab.disk_id("old").to_string());
    let made = restored(&cloud, &snapshotter, "old", "westeurope-3").await;
    let name = made.disk.rsplit_once('/').unwrap().1.to_owned();
    let mut labelled = old.clone();
    annotate(&mut labelled, &made, "westeurope-3");
    let labels = &mut labelled["metadata"]["labels"];
    labels["failure-domain.beta.kubernetes.io/zone"] = json!("westeurope-3");
    labels["topology.kubernetes.io/zone"] = json!("westeurope-3");
    labels["topology.kubernetes.io/region"] = json!("westeurope");

    let mut stays = labelled.clone();
    stays["spec"]["azureDisk"]["diskURI"] = json!(made.disk);
    stays["spec"]["azureDisk"]["diskName"] = json!(name);
    stays["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"] = json!([{"matchExpressions": [
        {"key": "failure-domain.beta.kubernetes.io/zone", "operator": "In", "values": ["westeurope-3"]},
        {"key": "failure-domain.beta.kubernetes.io/region", "operator": "In", "values": ["westeurope"]},
    ]}]);
    let keeping = [("convertToCSI", "false")];
    let keeping = cloud.snapshotter(&plugin, &keeping).await.unwrap();
    let got = keeping.set_volume_id(&old, &made.disk).await.unwrap();
    assert_eq!(got, stays);
    assert_eq!(
        keeping.volume_id(&got).await.unwrap(),
        Some(made.disk.clone())
    );

    let converting = cloud.snapshotter(&plugin, &[]).await.unwrap();
    let got = converting.set_volume_id(&old, &made.disk).await.unwrap();
    let spec = &got["spec"];
    assert_eq!(spec.get("azureDisk"), None);
    assert_eq!(
        spec["csi"],
        json!({
            "driver": "disk.csi.azure.com", "volumeHandle": made.disk, "fsType": "xfs",
            "volumeAttributes": {
                "kind": "Managed", "cachingMode": "ReadWrite", "fsType": "xfs", "skuName": "Premium_LRS",
            },
        })
    );
    assert_eq!(spec["unknownToUs"], json!([]));
    let terms = &spec["nodeAffinity"]["required"]["nodeSelectorTerms"];
    assert_eq!(
        terms[0]["matchExpressions"][0],
        json!({"key": "topology.disk.csi.azure.com/zone", "operator": "In", "values": ["westeurope-3"]})
    );
    let annotations = &got["metadata"]["annotations"];
    assert_eq!(
        annotations["pv.kubernetes.io/provisioned-by"],
        "disk.csi.azure.com"
    );
    assert_eq!(annotations.get("pv.kubernetes.io/migrated-to"), None);
    assert_eq!(got["metadata"]["labels"], labelled["metadata"]["labels"]);
    assert_eq!(converting.volume_id(&got).await.unwrap(), Some(made.disk));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pv_follows_the_sku_that_its_disk_was_mapped_to() {
    let Some(cloud) = Cloud::start().await.unwrap() else {
        return;
    };
    let plugin = cloud.plugin().await.unwrap();
    let old = csi(&cloud.lab.disk_id("old").to_string());
    let plain = cloud.snapshotter(&plugin, &[]).await.unwrap();
    let snapshot = cloud
        .snapshot_of_lost(&plain, &cloud.premium("old"))
        .await
        .unwrap();
    let of = |zone: &str| {
        json!({"matchExpressions": [
            {"key": "topology.disk.csi.azure.com/zone", "operator": "In", "values": [zone]},
            {"key": "kubernetes.io/arch", "operator": "In", "values": ["amd64"]},
        ]})
    };
    let redundant = json!([
        of("westeurope-1"),
        of("westeurope-2"),
        of("westeurope-3"),
        of("")
    ]);
    for (sku, caching, sector, zone, terms) in [
        (
            Sku::PremiumV2Lrs,
            "None",
            json!("512"),
            json!("westeurope-1"),
            json!([of("westeurope-1")]),
        ),
        (
            Sku::UltraSsdLrs,
            "None",
            json!("512"),
            json!("westeurope-1"),
            json!([of("westeurope-1")]),
        ),
        (
            Sku::PremiumZrs,
            "ReadOnly",
            Value::Null,
            Value::Null,
            redundant,
        ),
        (
            Sku::StandardSsdLrs,
            "ReadOnly",
            Value::Null,
            json!("westeurope-1"),
            json!([of("westeurope-1")]),
        ),
    ] {
        let mapping = format!("Premium_LRS={sku}");
        let snapshotter = cloud
            .snapshotter(&plugin, &[("skuMapping", &mapping)])
            .await
            .unwrap();
        let disk = snapshotter
            .create_volume(&snapshot, "Premium_LRS", "westeurope-1", None)
            .await
            .unwrap();
        let pv = snapshotter.set_volume_id(&old, &disk).await.unwrap();
        let attributes = &pv["spec"]["csi"]["volumeAttributes"];
        assert_eq!(attributes["skuName"], sku.name());
        assert_eq!(attributes["cachingMode"], caching, "{sku}");
        assert_eq!(attributes["LogicalSectorSize"], sector, "{sku}");
        assert_eq!(
            pv["metadata"]["labels"]["topology.kubernetes.io/zone"], zone,
            "{sku}"
        );
        assert_eq!(
            pv["metadata"]["labels"]["topology.kubernetes.io/region"], "westeurope",
            "{sku}"
        );
        assert_eq!(
            pv["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"], terms,
            "{sku}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pvs_of_every_shape_are_told_apart() {
    let Some(cloud) = Cloud::start().await.unwrap() else {
        return;
    };
    let plugin = cloud.plugin().await.unwrap();
    let snapshotter = cloud.snapshotter(&plugin, &[]).await.unwrap();
    let id = cloud.lab.disk_id("d").to_string();
    let with = |mut pv: Value, pointer: &str, value: Value| {
        *pv.pointer_mut(pointer).unwrap() = value;
        pv
    };
    for handle in [id.clone(), id.to_lowercase(), id.to_uppercase()] {
        for pv in [csi(&handle), in_tree(&handle)] {
            let got = snapshotter.volume_id(&pv).await.unwrap();
            assert_eq!(got, Some(handle.clone()), "as it is written in the PV");
        }
    }
    let foreign = with(csi(&id), "/spec/csi/driver", json!("ebs.csi.aws.com"));
    for pv in [
        foreign.clone(),
        with(
            csi(&id),
            "/spec",
            json!({"nfs": {"server": "s", "path": "/"}}),
        ),
        with(csi(&id), "/spec", json!({})),
    ] {
        assert_eq!(snapshotter.volume_id(&pv).await.unwrap(), None, "{pv}");
    }
    for (pv, told) in [
        (csi(""), "spec.csi.volumeHandle"),
        (csi("disk-1"), "`disk-1`"),
        (
            csi(&cloud.lab.snapshot_id("s").to_string()),
            "/disks/<name>",
        ),
        (
            in_tree("https://account.blob.core.windows.net/vhds/d.vhd"),
            "spec.azureDisk.diskURI",
        ),
        (
            with(in_tree(&id), "/spec/azureDisk/kind", json!("Dedicated")),
            "`Dedicated`",
        ),
        (with(csi(&id), "/spec", json!(7)), "`spec`"),
        (
            with(csi(&id), "/spec/csi/volumeHandle", json!({"a": 1})),
            "volumeHandle",
        ),
        (json!([]), "`spec`"),
    ] {
        let error = snapshotter.volume_id(&pv).await.unwrap_err();
        assert_eq!(error.code(), tonic::Code::InvalidArgument, "{error}");
        assert!(error.message().contains(told), "{told} in {error}");
    }
    let disk = cloud.lab.create_disk(&cloud.premium("d")).unwrap();
    for (pv, disk, told) in [
        (&foreign, &*id, "ebs.csi.aws.com"),
        (&json!({"spec": {"nfs": {}}}), &id, "spec.azureDisk"),
        (&csi(&id), "a/b", "`a/b`"),
        (&csi(&id), "", "``"),
        (&csi(&id), "no-such-disk", "no-such-disk"),
        (&with(csi(&id), "/metadata", json!("x")), &id, "metadata"),
    ] {
        let error = snapshotter.set_volume_id(pv, disk).await.unwrap_err();
        assert!(error.message().contains(told), "{told} in {error}");
    }
    assert_eq!(cloud.lab.disks(), [disk]);
}
