//! Tokens that a real kube-apiserver judges.

use k8s_openapi::api::core::v1::ServiceAccount;
use tonic::Code;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn an_accepted_account_holds_volumes_and_every_other_token_is_refused_and_logged_without_it()
{
    let Some(site) = Site::start().await else {
        return;
    };
    let lease = site.lease(None).await;
    let good = site.token("velero", AUDIENCE).await;
    let mut client = site.client(&lease, &good).await.unwrap();
    let volume = site.node.volumes[0].handle.clone();
    let (side, mut events) = client.hold(&volume).await.unwrap();
    events.message().await.unwrap().unwrap();
    assert!(site.node.volumes[0].is_frozen());
    let status = site.node.status().await;
    assert_eq!(status.holds[0].holder, "velero/velero");
    drop(side);
    events.message().await.unwrap().unwrap();
    assert!(!site.node.volumes[0].is_frozen());

    let elsewhere = site.token("velero", "vault").await;
    let default_audience = site.cluster.token("velero", "velero", None).await.unwrap();
    let another = site.token("another", AUDIENCE).await;
    let mut forged = good.clone();
    let end = if forged.ends_with('A') { 'B' } else { 'A' };
    forged.replace_range(forged.len() - 9..forged.len() - 8, &end.to_string());
    for (what, token, code, reason) in [
        (
            "for another audience",
            &elsewhere,
            Code::Unauthenticated,
            "audience",
        ),
        (
            "for the API server",
            &default_audience,
            Code::Unauthenticated,
            "audience",
        ),
        (
            "of another account",
            &another,
            Code::PermissionDenied,
            "velero/another",
        ),
        (
            "forged",
            &forged,
            Code::Unauthenticated,
            "rejects the token",
        ),
    ] {
        let status = site.status(&lease, token).await.unwrap_err();
        assert_eq!(status.code(), code, "{what}: {status}");
        assert!(status.message().contains(reason), "{what}: {status}");
    }

    // A token of an account that is gone, and made again under the same name.
    let before = site.token("velero", AUDIENCE).await;
    let accounts: Api<ServiceAccount> = Api::namespaced(site.cluster.client(), "velero");
    accounts
        .delete("velero", &Default::default())
        .await
        .unwrap();
    let after = site.token("velero", AUDIENCE).await;
    until("the account is another", PATIENCE, async || {
        Ok(site.status(&lease, &after).await.is_ok().then_some(()))
    })
    .await
    .unwrap();
    let status = site.status(&lease, &before).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated, "{status}");

    let log = site.node.log();
    assert!(log.contains("TRACE"), "all that can be logged is");
    assert!(
        log.contains("does not accept velero/another"),
        "the reason is logged"
    );
    let own = std::fs::read_to_string(&site.kubeconfig).unwrap();
    let own: serde_json::Value = serde_json::from_str(&own).unwrap();
    let own = own["users"][0]["user"]["token"].as_str().unwrap();
    for token in [
        &good[..],
        &elsewhere,
        &default_audience,
        &another,
        &forged,
        &before,
        own,
    ] {
        for part in token.split('.').skip(1) {
            assert!(!log.contains(part), "a token is in the log");
        }
    }
}
