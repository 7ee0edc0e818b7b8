//! etcd and kube-apiserver: what tests of agent and plugin need.

use std::time::Duration;

use k8s_openapi::api::{
    authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus},
    core::v1::ConfigMap,
};
use kube::{Api, Client, api::PostParams};
use serde_json::json;
use stillpoint_cluster::{Cluster, Part, Parts, until};

use crate::skip_if_missing;

const AUDIENCE: &str = "stillpoint-agent";

async fn review(client: Client, token: &str, audience: &str) -> TokenReviewStatus {
    let review = TokenReview {
        spec: TokenReviewSpec {
            token: Some(token.into()),
            audiences: Some(vec![audience.into()]),
        },
        ..Default::default()
    };
    let reviews: Api<TokenReview> = Api::all(client);
    let answer = reviews.create(&PostParams::default(), &review).await;
    answer.unwrap().status.unwrap()
}

#[tokio::test]
async fn token_is_good_for_its_audience_only() {
    skip_if_missing!();
    let cluster = Cluster::start(Parts::Api).await.unwrap();
    let namespace =
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "velero" } });
    cluster.apply(namespace).await.unwrap();
    let token = cluster
        .token("velero", "velero", Some(AUDIENCE))
        .await
        .unwrap();

    let good = review(cluster.client(), &token, AUDIENCE).await;
    assert_eq!(good.authenticated, Some(true), "{good:?}");
    assert_eq!(good.audiences, Some(vec![AUDIENCE.into()]));
    let user = good.user.and_then(|user| user.username);
    assert_eq!(user.as_deref(), Some("system:serviceaccount:velero:velero"));

    let foreign = review(cluster.client(), &token, "somebody-else").await;
    assert_ne!(foreign.authenticated, Some(true), "{foreign:?}");
}

#[tokio::test]
async fn account_has_no_rights_of_its_own() {
    skip_if_missing!();
    let cluster = Cluster::start(Parts::Api).await.unwrap();
    let token = cluster.token("default", "nobody", None).await.unwrap();
    let kubeconfig = cluster.kubeconfig_with("nobody", &token).unwrap();
    let kubeconfig = kube::config::Kubeconfig::read_from(kubeconfig).unwrap();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default())
        .await
        .unwrap();
    let client = Client::try_from(config).unwrap();
    let secrets: Api<ConfigMap> = Api::default_namespaced(client);
    let refused = secrets.list(&Default::default()).await.unwrap_err();
    let kube::Error::Api(status) = refused else {
        panic!("{refused}")
    };
    assert_eq!(status.code, 403, "{status:?}");
}

#[tokio::test]
async fn objects_outlive_an_outage_of_each_part() {
    skip_if_missing!();
    let mut cluster = Cluster::start(Parts::Api).await.unwrap();
    cluster
        .apply_yaml(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: kept}\ndata: {key: value}\n---\n",
        )
        .await
        .unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client(), "default");
    for part in [Part::Etcd, Part::ApiServer] {
        cluster.stop(part).unwrap();
        let answer = tokio::time::timeout(Duration::from_secs(2), maps.get("kept")).await;
        assert!(!matches!(answer, Ok(Ok(_))), "{part:?} is down: {answer:?}");
        cluster.restart(part).await.unwrap();
        let read = until("an answer", Duration::from_secs(30), async || {
            Ok(maps.get_opt("kept").await?)
        });
        let data = read.await.unwrap().data.unwrap();
        assert_eq!(data["key"], "value", "after {part:?}");
    }
    cluster.pause(Part::ApiServer).unwrap();
    let answer = tokio::time::timeout(Duration::from_millis(300), maps.get("kept")).await;
    assert!(answer.is_err(), "a paused server answers: {answer:?}");
    cluster.resume(Part::ApiServer).unwrap();
    maps.get("kept").await.unwrap();
}
