//! The certificate that replicas share, as an API server sees it.

use std::time::Duration;

use serde_json::json;
use stillpoint_cluster::{Part, until};
use stillpoint_plugin::gate::door::Pace;

use crate::{
    contents::{Kind, marked},
    scene::{SOON, Scene},
};

const QUICK: Pace = Pace {
    lifetime: Duration::from_secs(90 * 24 * 3600),
    look: Duration::from_millis(200),
};

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_that_start_at_once_are_trusted_with_one_certificate() {
    let Some(scene) = Scene::start().await else {
        return;
    };
    scene.with_kinds().await;
    let (one, two) = tokio::join!(scene.ready_gate(QUICK), scene.ready_gate(QUICK));
    let secret = scene.secret().await;
    assert_eq!(secret.type_.as_deref(), Some("kubernetes.io/tls"));
    let data = secret.data.unwrap();
    let mut keys: Vec<_> = data.keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["ca.crt", "tls.crt", "tls.key"]);
    let authorities = String::from_utf8(data["ca.crt"].0.clone()).unwrap();
    assert_eq!(authorities.matches("BEGIN CERTIFICATE").count(), 1);
    for bundle in scene.bundles().await {
        assert_eq!(bundle, data["ca.crt"].0);
    }
    scene.ask(&one, &two, 10).await;
    scene.until_asked().await;
    let group = Kind::Group("v1");
    scene.create_of(group, "group", json!({})).await.unwrap();
    scene.update(group, "group", marked(group)).await.unwrap();
    assert_eq!(
        scene.recorder.take().len(),
        1,
        "the other replica is asked about groups"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_ca_bundle_is_put_back() {
    let Some(scene) = Scene::start().await else {
        return;
    };
    scene.with_kinds().await;
    let gate = scene.ready_gate(QUICK).await;
    scene.ask(&gate, &gate, 10).await;
    let bundles = scene.bundles().await;
    let webhooks = ["contents", "groups"].map(|name| {
        json!({ "name": format!("{name}.gate.stillpoint.io"), "clientConfig": { "caBundle": null } })
    });
    scene
        .patch_configuration(json!({ "webhooks": webhooks }))
        .await;
    let back = until("caBundle is back", SOON, async || {
        Ok((scene.bundles().await == bundles).then_some(()))
    });
    back.await.unwrap();
    scene.until_asked().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_renewed_while_the_api_server_asks() {
    let Some(scene) = Scene::start().await else {
        return;
    };
    scene.with_kinds().await;
    let pace = Pace {
        lifetime: Duration::from_secs(15),
        look: Duration::from_millis(1500),
    };
    let (one, two) = tokio::join!(scene.ready_gate(pace), scene.ready_gate(pace));
    scene.ask(&one, &two, 10).await;
    scene.until_asked().await;
    let first = scene.secret().await.metadata.resource_version;
    let group = Kind::Group("v1");
    let mut number = 0;
    let mut served = 0;
    let mut last = first;
    // Each of them fails if the API server does not trust whom it asks.
    while served < 2 {
        number += 1;
        let name = format!("renewal-{number}");
        scene.create(&name, json!({})).await.unwrap();
        scene.mark(&name).await.unwrap();
        scene.create_of(group, &name, json!({})).await.unwrap();
        scene.update(group, &name, marked(group)).await.unwrap();
        assert_eq!(scene.recorder.take().len(), 2);
        let now = scene.secret().await.metadata.resource_version;
        if now != last {
            served += 1;
            last = now;
        }
        assert!(number < 100_000, "the certificate is never renewed");
    }
    let secret = scene.secret().await.data.unwrap();
    let authorities = String::from_utf8(secret["ca.crt"].0.clone()).unwrap();
    assert!(
        authorities.matches("BEGIN CERTIFICATE").count() >= 2,
        "the one before is trusted"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_that_starts_without_an_api_server_is_ready_once_there_is_one() {
    let Some(mut scene) = Scene::start().await else {
        return;
    };
    scene.cluster.stop(Part::ApiServer).unwrap();
    let gate = scene.gate(QUICK).await;
    let told = until("the reason is told", SOON, async || {
        let reason = gate.readiness.check().unwrap_err();
        Ok(reason
            .starts_with("certificate: Secret: velero/")
            .then_some(()))
    });
    told.await.unwrap();
    scene.cluster.restart(Part::ApiServer).await.unwrap();
    let ready = until("the gate is ready", SOON, async || {
        gate.readiness.check().map(Some).map_err(anyhow::Error::msg)
    });
    ready.await.unwrap();
    let data = scene.secret().await.data.unwrap();
    for bundle in scene.bundles().await {
        assert_eq!(bundle, data["ca.crt"].0);
    }
}
