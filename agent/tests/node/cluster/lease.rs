//! The Lease from the agent's start to its end.

use k8s_openapi::api::core::v1::Node;

use super::*;
use crate::harness::{Hold, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn the_lease_is_renewed_restored_taken_over_and_dropped_at_the_end() {
    let Some(mut site) = Site::start().await else {
        return;
    };
    let first = site.lease(None).await;
    let labels = first.metadata.labels.as_ref().unwrap();
    assert_eq!(labels["app.kubernetes.io/name"], "stillpoint-agent");
    assert_eq!(
        annotation(&first, "stillpoint.io/certificate-sha256").len(),
        64
    );
    let spec = first.spec.as_ref().unwrap();
    assert_eq!(spec.lease_duration_seconds, Some(30));
    let nodes: Api<Node> = Api::all(site.cluster.client());
    let node = nodes.get("node-1").await.unwrap();
    let owner = &first.metadata.owner_references.as_ref().unwrap()[0];
    assert_eq!(
        (&owner.kind[..], Some(&owner.uid)),
        ("Node", node.metadata.uid.as_ref())
    );

    let leases = site.leases();
    until("the Lease is renewed", RENEWED, async || {
        let now = leases.get("stillpoint-agent-node-1").await?.spec.unwrap();
        Ok((now.renew_time > spec.renew_time).then_some(()))
    })
    .await
    .unwrap();
    leases
        .delete("stillpoint-agent-node-1", &Default::default())
        .await
        .unwrap();
    let restored = site.lease(None).await;
    assert_eq!(holder(&restored), holder(&first));

    site.node.kill_all();
    site.start_agent();
    let second = site.lease(Some(&first)).await;
    let token = site.token("velero", AUDIENCE).await;
    assert_eq!(site.status(&second, &token).await.unwrap(), "node-1");
    let certificate = "stillpoint.io/certificate-sha256";
    assert_ne!(
        annotation(&first, certificate),
        annotation(&second, certificate)
    );

    assert!(site.node.terminate().success());
    let left = leases.get_opt("stillpoint-agent-node-1").await.unwrap();
    assert!(left.is_none(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_kubernetes_delays_no_thaw_and_ends_no_door() {
    use stillpoint_cluster::Part::ApiServer;
    let Some(mut site) = Site::start().await else {
        return;
    };
    let lease = site.lease(None).await;
    let token = site.token("velero", AUDIENCE).await;
    let unseen = site.token("velero", AUDIENCE).await;
    let mut client = site.client(&lease, &token).await.unwrap();
    let volume = site.node.volumes[0].handle.clone();
    let (side, mut events) = client.hold(&volume).await.unwrap();
    events.message().await.unwrap().unwrap();
    assert!(site.node.volumes[0].is_frozen());

    site.cluster.pause(ApiServer).unwrap();
    drop(side);
    let thawed = tokio::time::timeout(PATIENCE, events.message()).await;
    assert!(thawed.unwrap().unwrap().is_some(), "Thawed");
    assert!(!site.node.volumes[0].is_frozen());
    let status = site.status(&lease, &unseen).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unavailable, "{status}");
    let hold: Hold = site.node.hold_all(Duration::from_secs(10)).await;
    assert!(hold.release().await.volumes[0].held, "by the unix socket");

    site.cluster.resume(ApiServer).unwrap();
    let leases = site.leases();
    let paused = leases.get("stillpoint-agent-node-1").await.unwrap().spec;
    until("renewed again", RENEWED, async || {
        let now = leases.get("stillpoint-agent-node-1").await?.spec;
        let renewed = now.unwrap().renew_time > paused.as_ref().unwrap().renew_time;
        Ok(renewed.then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(site.status(&lease, &unseen).await.unwrap(), "node-1");

    // A shutdown without Kubernetes ends in time all the same.
    site.cluster.stop(ApiServer).unwrap();
    assert!(site.node.terminate().success());
    eventually("nothing is frozen", || !site.node.volumes[0].is_frozen());
}
