//! What the cluster tells is found and heeded.

use k8s_openapi::api::core::v1::{Namespace, PersistentVolumeClaim, Pod};
use kube::Api;
use stillpoint_loopfs::Kind;
use stillpoint_system::{inspect, writers::Writer};

use crate::scene::Scene;

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_volume_is_frozen_by_the_agent_of_its_node_and_its_owner_is_told() {
    let Some(scene) = Scene::start().await else {
        return;
    };
    let plugin = scene.plugin().await;
    let snapshotter = scene.snapshotter(&plugin, "required").await;
    let writer = Writer::files(scene.volume.path()).unwrap();
    while writer.count() < 50 {
        tokio::task::yield_now().await;
    }
    let seen = scene.snapshot(&snapshotter).await.unwrap();
    drop(writer);
    let tags = &seen.tags;
    assert_eq!(tags["stillpoint-consistency"], "filesystem", "{tags:?}");
    assert!(
        tags["stillpoint-reason"].contains("ext4 on node-1"),
        "{tags:?}"
    );
    let copy = scene.rig.lab.copy_of(&seen.id).unwrap();
    let journal = inspect::journal(&copy, Kind::Ext4).unwrap();
    assert!(journal.clean, "{journal:?}");
    // Ended at once, as Velero does: the Event is not lost.
    assert!(!plugin.shut_down().await.unwrap().killed);
    let (kind, message) = scene.event("SnapshotFrozen").await;
    assert_eq!(kind, "Normal");
    assert!(
        message.contains(&format!("{} ms", tags["stillpoint-frozen-ms"])),
        "{message}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_comes_later_is_found_in_tree_too_and_without_an_attachment_by_its_pod() {
    let Some(scene) = Scene::start().await else {
        return;
    };
    let plugin = scene.plugin().await;
    let snapshotter = scene.snapshotter(&plugin, "required").await;
    scene.snapshot(&snapshotter).await.unwrap();
    let later = scene.add_in_tree("later").await.unwrap();
    scene.until_frozen(&snapshotter, &later).await;
    // A pod's wish is the nearest of all.
    let pods: Api<Pod> = Api::namespaced(scene.client(), "shop");
    scene.annotate(pods, "later", Some("off")).await;
    let plugin = scene.plugin().await;
    let auto = scene.snapshotter(&plugin, "auto").await;
    let seen = scene.snapshot_of(&auto, &later).await.unwrap();
    assert_eq!(seen.tags["stillpoint-reason"], "`freeze` is off");
    // Before the scene, which has its node.
    drop(later);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_nearest_annotation_counts_but_lowers_no_required() {
    let Some(scene) = Scene::start().await else {
        return;
    };
    let plugin = scene.plugin().await;
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(scene.client(), "shop");
    let namespaces: Api<Namespace> = Api::all(scene.client());
    scene
        .annotate(namespaces.clone(), "shop", Some("off"))
        .await;
    let auto = scene.snapshotter(&plugin, "auto").await;
    let worth = async |snapshotter| {
        let mut seen = scene.snapshot(snapshotter).await.unwrap();
        seen.tags.remove("stillpoint-consistency").unwrap()
    };
    assert_eq!(worth(&auto).await, "crash", "the namespace says off");
    let (kind, message) = scene.event("SnapshotCrashConsistent").await;
    assert!(
        kind == "Normal" && message.contains("as asked for"),
        "{message}"
    );

    scene.annotate(claims.clone(), "data", Some("auto")).await;
    assert_eq!(worth(&auto).await, "filesystem", "the PVC is nearer");

    scene.annotate(claims, "data", Some("off")).await;
    let required = scene.snapshotter(&plugin, "required").await;
    assert_eq!(worth(&required).await, "filesystem", "required stands");
}
