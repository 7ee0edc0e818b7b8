//! What cannot be trusted or reached is no freeze: `auto` goes on and says why, `required` fails.

use std::time::{Duration, Instant};

use kube::api::{Patch, PatchParams};
use serde_json::json;
use stillpoint_cluster::Part;

use crate::scene::Scene;

/// Far below `freezeTimeout` and `apiTimeout`; a hang would take longer.
const NO_HANG: Duration = Duration::from_secs(60);

impl Scene {
    /// Both modes, with a plugin of its own each.
    async fn assert_refused(&self, reason: &str) {
        let began = Instant::now();
        let plugin = self.plugin().await;
        let auto = self.snapshotter(&plugin, "auto").await;
        let seen = self.snapshot(&auto).await.unwrap();
        let tags = &seen.tags;
        assert_eq!(tags["stillpoint-consistency"], "crash", "{tags:?}");
        let logged = format!("{:?}", plugin.logs());
        let said = &tags["stillpoint-reason"];
        assert!(said.contains(reason), "{reason}: {said}\n{logged}");
        let required = self.snapshotter(&plugin, "required").await;
        let error = self.snapshot(&required).await.unwrap_err();
        assert!(error.message().contains(reason), "{error}");
        assert!(began.elapsed() < NO_HANG, "{:?}", began.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_that_are_not_who_they_should_be_or_not_there_freeze_nothing() {
    let Some(mut scene) = Scene::start().await else {
        return;
    };
    let leases = scene.leases();
    let name = "stillpoint-agent-node-1";
    let good = leases.get(name).await.unwrap();
    // From here on nobody renews it.
    scene.rig.start_agent().unwrap();
    let pretend = async |changes: serde_json::Value| {
        let mut lease = good.clone();
        lease.metadata = kube::api::ObjectMeta {
            name: good.metadata.name.clone(),
            annotations: good.metadata.annotations.clone(),
            ..Default::default()
        };
        let mut lease = serde_json::to_value(lease).unwrap();
        lease["apiVersion"] = json!("coordination.k8s.io/v1");
        lease["kind"] = json!("Lease");
        lease["spec"]["leaseDurationSeconds"] = json!(3600);
        for (path, value) in changes.as_object().unwrap() {
            *lease.pointer_mut(path).unwrap() = value.clone();
        }
        let params = PatchParams::apply("test").force();
        leases
            .patch(name, &params, &Patch::Apply(&lease))
            .await
            .unwrap();
    };

    scene
        .assert_refused("there is no Lease velero/stillpoint-agent-node-1")
        .await;
    pretend(json!({})).await;
    scene.assert_refused("refused").await;
    pretend(json!({ "/spec/leaseDurationSeconds": 1, "/spec/renewTime": "2026-01-01T00:00:00.000000Z" })).await;
    scene.assert_refused("stale").await;

    let kubeconfig = scene.cluster.kubeconfig();
    scene.rig.start_agent_of(Some(&kubeconfig)).unwrap();
    let account = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": { "namespace": "velero", "name": "stillpoint-plugin" },
        "rules": [{ "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get"] }],
    });
    scene.cluster.apply(account).await.unwrap();
    scene
        .assert_refused("no token of ServiceAccount velero/velero")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_api_server_nothing_is_frozen_at_first_and_what_is_known_is_used_later() {
    let Some(mut scene) = Scene::start().await else {
        return;
    };
    let plugin = scene.plugin().await;
    let snapshotter = scene.snapshotter(&plugin, "required").await;
    scene.snapshot(&snapshotter).await.unwrap();
    scene.cluster.pause(Part::ApiServer).unwrap();
    let auto = scene.snapshotter(&plugin, "auto").await;
    let seen = scene.snapshot(&auto).await.unwrap();
    assert_eq!(seen.tags["stillpoint-consistency"], "filesystem");
    scene.cluster.resume(Part::ApiServer).unwrap();
    let snapshotter = scene.snapshotter(&plugin, "required").await;
    scene.cluster.stop(Part::ApiServer).unwrap();
    let seen = scene.snapshot(&snapshotter).await.unwrap();
    assert_eq!(seen.tags["stillpoint-consistency"], "filesystem");
    scene
        .assert_refused("PersistentVolumes of the cluster are not known")
        .await;
    // What was watched before goes on, although the server has forgotten where that was.
    scene.cluster.restart(Part::ApiServer).await.unwrap();
    let later = scene.add_in_tree("later").await.unwrap();
    scene.until_frozen(&snapshotter, &later).await;
    drop(later);
}
