//! Reviews that no API server sends.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use kube::api::DeleteParams;
use serde_json::{Value, json};
use stillpoint_cluster::until;
use stillpoint_e2e::{csi::objects::contents, world::SOON};

use crate::scene::Scene;

/// Of a content that nobody made it freezes nothing. Of one that is there, and is not being cut, it freezes for a second,
/// and then not so soon again.
pub(crate) async fn review(scene: &Scene) -> Result<()> {
    let writer = scene.writer(scene.spare());
    let handle = scene
        .world
        .lab
        .disk_id(&scene.volume(scene.spare()).pv)
        .to_string();
    let holds = || scene.gate.log().matches("did not store the hold").count();
    let before = holds();

    let nobodys = content("forged", "forged", &handle);
    let answer = ask(scene, &forged(&nobodys)).await?;
    ensure!(answer["response"]["allowed"] == true, "{answer}");

    let mut idle = content("idle", "", &handle);
    let made = scene.world.cluster.apply(idle.clone()).await?;
    idle["metadata"]["uid"] = json!(made.metadata.uid);
    let asked = Instant::now();
    writer.longest_stall();
    ask(scene, &forged(&idle)).await?;
    until("the gate has let go of both", SOON, async || {
        Ok((holds() >= before + 2).then_some(()))
    })
    .await?;
    scene.all_write().await?;
    let stood = writer.longest_stall();
    ensure!(stood < asked.elapsed(), "{stood:?}");

    ask(scene, &forged(&idle)).await?;
    let log = scene.gate.log();
    ensure!(log.contains("is not held again for"), "barred");
    let contents = contents(scene.world.client());
    contents.delete("idle", &DeleteParams::default()).await?;
    scene.all_write().await
}

/// One that csi-snapshotter does not touch, since its class is missing.
fn content(name: &str, uid: &str, handle: &str) -> Value {
    json!({
        "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshotContent",
        "metadata": { "name": name, "uid": uid },
        "spec": {
            "driver": "disk.csi.azure.com", "deletionPolicy": "Retain", "volumeSnapshotClassName": "missing",
            "source": { "volumeHandle": handle },
            "volumeSnapshotRef": { "namespace": "till", "name": "forged", "uid": "forged" },
        },
    })
}

fn forged(content: &Value) -> Value {
    let mark = "snapshot.storage.kubernetes.io/volumesnapshot-being-created";
    let mut marked = content.clone();
    marked["metadata"]["annotations"] = json!({ mark: "yes" });
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "forged", "name": "forged", "operation": "UPDATE", "userInfo": {},
            "kind": { "group": "snapshot.storage.k8s.io", "version": "v1", "kind": "VolumeSnapshotContent" },
            "resource": {
                "group": "snapshot.storage.k8s.io", "version": "v1", "resource": "volumesnapshotcontents",
            },
            "object": marked, "oldObject": content,
        },
    })
}

async fn ask(scene: &Scene, review: &Value) -> Result<Value> {
    let url = format!("https://{}/admit?timeout=10s", scene.world.gate_address(0));
    let client = reqwest::Client::builder()
        .danger_accept_invalid_certs(true)
        .build()?;
    let answer = client
        .post(url)
        .header("content-type", "application/json")
        .body(review.to_string())
        .send()
        .await?;
    let text = answer.text().await?;
    serde_json::from_str(&text).with_context(|| text)
}
