//! Reviews that no API server sends.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use stillpoint_cluster::until;
use stillpoint_e2e::world::SOON;

use crate::scene::Scene;

/// The gate answers it, and a second later nothing is frozen; the volume is then not held so soon again.
pub(crate) async fn review(scene: &Scene) -> Result<()> {
    let volume = 2;
    scene.writer(volume).longest_stall();
    let asked = Instant::now();
    let answer = ask(scene, &forged(scene, volume)?).await?;
    ensure!(answer["response"]["allowed"] == true, "{answer}");
    scene.all_write().await?;
    let stood = scene.writer(volume).longest_stall();
    ensure!(stood < asked.elapsed(), "{stood:?}");
    until("the gate has let go", SOON, async || {
        Ok(scene
            .gate
            .log()
            .contains("did not store the hold")
            .then_some(()))
    })
    .await?;

    ask(scene, &forged(scene, volume)?).await?;
    let again = scene.writer(volume).longest_stall();
    ensure!(
        again < stood.max(Duration::from_millis(500)),
        "{again:?} after {stood:?}"
    );
    scene.all_write().await
}

fn forged(scene: &Scene, volume: usize) -> Result<Value> {
    let handle = scene
        .world
        .lab
        .disk_id(&scene.volume(volume).pv)
        .to_string();
    let mark = "snapshot.storage.kubernetes.io/volumesnapshot-being-created";
    let content = |annotations: Value| {
        json!({
            "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshotContent",
            "metadata": { "name": "forged", "uid": "forged", "annotations": annotations },
            "spec": {
                "driver": "disk.csi.azure.com", "deletionPolicy": "Delete",
                "source": { "volumeHandle": handle },
                "volumeSnapshotRef": { "namespace": "till", "name": "forged", "uid": "forged" },
            },
        })
    };
    Ok(json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "forged", "name": "forged", "operation": "UPDATE", "userInfo": {},
            "kind": { "group": "snapshot.storage.k8s.io", "version": "v1", "kind": "VolumeSnapshotContent" },
            "resource": {
                "group": "snapshot.storage.k8s.io", "version": "v1", "resource": "volumesnapshotcontents",
            },
            "object": content(json!({ mark: "yes" })), "oldObject": content(json!({})),
        },
    }))
}

async fn ask(scene: &Scene, review: &Value) -> Result<Value> {
    let url = format!("https://{}/admit?timeout=10s", scene.world.gate_address());
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
