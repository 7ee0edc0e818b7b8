//! The admission policy: an agent's account writes the Lease of its own node, and no other.

use anyhow::Result;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api, Client, Config,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use std::{path::Path, time::Duration};
use stillpoint_cluster::{Cluster, Parts, missing, until};

const SOON: Duration = Duration::from_secs(30);

fn lease(name: &str) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": { "namespace": "velero", "name": name },
        "spec": { "holderIdentity": "taken" },
    })
}

async fn leases(kubeconfig: &Path, namespace: &str) -> Result<Api<Lease>> {
    let read = Kubeconfig::read_from(kubeconfig)?;
    let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?;
    Ok(Api::namespaced(Client::try_from(config)?, namespace))
}

/// Whether the API server lets it; else with what it says.
fn answer<T>(answer: kube::Result<T>) -> Result<(), String> {
    match answer {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 403 => Err(status.message),
        Err(error) => panic!("{error}"),
    }
}

/// As an agent writes it.
async fn announce(api: &Api<Lease>, name: &str) -> Result<(), String> {
    let params = PatchParams::apply("stillpoint-agent").force();
    answer(api.patch(name, &params, &Patch::Apply(lease(name))).await)
}

/// The same in every other way that there is.
async fn write_otherwise(api: &Api<Lease>, name: &str) -> Vec<(&'static str, Result<(), String>)> {
    let merge = Patch::Merge(json!({ "spec": { "holderIdentity": "taken" } }));
    let new: Lease = serde_json::from_value(lease(name)).unwrap();
    let unnamed = json!({ "metadata": { "generateName": name } });
    let unnamed: Lease = serde_json::from_value(unnamed).unwrap();
    let params = PostParams::default();
    vec![
        (
            "patch",
            answer(api.patch(name, &PatchParams::default(), &merge).await),
        ),
        (
            "delete",
            answer(api.delete(name, &DeleteParams::default()).await),
        ),
        ("create", answer(api.create(&params, &new).await)),
        (
            "create unnamed",
            answer(api.create(&params, &unnamed).await),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agents_account_writes_the_lease_of_its_own_node_and_no_other() {
    if let Some(why) = missing() {
        eprintln!("SKIPPED: {why}");
        return;
    }
    let cluster = Cluster::start(Parts::Api).await.unwrap();
    cluster.apply_chart(&json!({})).await.unwrap();
    let one = cluster.agent_kubeconfig("node-1").await.unwrap();
    let two = cluster.agent_kubeconfig("node-2").await.unwrap();
    let (one, two) = (
        leases(&one, "velero").await.unwrap(),
        leases(&two, "velero").await.unwrap(),
    );
    // Policies count a moment after they are written.
    until("the policy counts", SOON, async || {
        Ok(announce(&one, "stillpoint-agent-early")
            .await
            .is_err()
            .then_some(()))
    })
    .await
    .unwrap();
    announce(&one, "stillpoint-agent-node-1").await.unwrap();
    announce(&two, "stillpoint-agent-node-2").await.unwrap();

    let all = cluster.client();
    let all: Api<Lease> = Api::namespaced(all, "velero");
    for there in [
        "stillpoint-agent-node-2",
        "stillpoint-agent-node-10",
        "velero",
    ] {
        let _ = all
            .create(
                &PostParams::default(),
                &serde_json::from_value(lease(there)).unwrap(),
            )
            .await;
        let refused = announce(&one, there).await.unwrap_err();
        let told = "the agent of node node-1 may write its own Lease only, stillpoint-agent-node-1";
        assert!(refused.contains(told), "{there}: {refused}");
        for (how, written) in write_otherwise(&one, there).await {
            let refused = written.expect_err(how);
            assert!(refused.contains(told), "{how} {there}: {refused}");
        }
        all.get(there).await.unwrap();
    }
    // Of its own node everything, all over.
    let own = "stillpoint-agent-node-1";
    let written = write_otherwise(&one, own).await;
    for (how, written) in &written[..3] {
        assert_eq!(*written, Ok(()), "{how}");
    }
    written[3].1.as_ref().unwrap_err();

    // A token that was not made for a pod is no agent's.
    let token = cluster
        .token("velero", "stillpoint-agent", None)
        .await
        .unwrap();
    let loose = cluster.kubeconfig_with("loose", &token).unwrap();
    let refused = announce(&leases(&loose, "velero").await.unwrap(), own).await;
    let refused = refused.unwrap_err();
    assert!(refused.contains("names no node"), "{refused}");

    // Other accounts, and other namespaces, are none of the policy's business.
    let foreign = json!({ "metadata": { "name": "of-somebody" }, "spec": {} });
    all.create(
        &PostParams::default(),
        &serde_json::from_value(foreign).unwrap(),
    )
    .await
    .unwrap();
    let elsewhere = announce(&Api::namespaced(one.into_client(), "default"), own).await;
    assert!(elsewhere.unwrap_err().contains("cannot patch resource"));
}
