//! Install, upgrade, uninstall, by the real helm on a real API server, with nodes as AKS has them.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use k8s_openapi::api::{
    admissionregistration::v1::MutatingWebhookConfiguration,
    apps::v1::{DaemonSet, Deployment},
    core::v1::{Node, Pod},
};
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use stillpoint_cluster::{Cluster, Helm, Parts, chart, missing, rendered, until};

const SOON: Duration = Duration::from_secs(90);
/// Nodes, with what AKS puts on them.
const NODES: [(&str, &str, &str); 4] = [
    (
        "system",
        "westeurope-1",
        "CriticalAddonsOnly=true:NoSchedule",
    ),
    ("user", "westeurope-2", ""),
    (
        "spot",
        "westeurope-3",
        "kubernetes.azure.com/scalesetpriority=spot:NoSchedule",
    ),
    // It can have no agent, though those tolerate everything.
    (
        "virtual",
        "westeurope-1",
        "virtual-kubelet.io/provider=azure:NoSchedule",
    ),
];

struct Site {
    helm: Helm,
    cluster: Cluster,
}

impl Site {
    async fn start() -> Result<Self> {
        let cluster = Cluster::start(Parts::All).await?;
        let nodes: Api<Node> = Api::all(cluster.client());
        for (name, zone, taint) in NODES {
            cluster.add_node(name, zone).await?;
            let Some((key, rest)) = taint.split_once('=') else {
                continue;
            };
            let (value, effect) = rest.split_once(':').context("a taint has an effect")?;
            let taint = json!({ "key": key, "value": value, "effect": effect });
            let patch = Patch::Merge(json!({ "spec": { "taints": [taint] } }));
            nodes.patch(name, &PatchParams::default(), &patch).await?;
        }
        let label = json!({ "metadata": { "labels": { "type": "virtual-kubelet" } } });
        let patch = Patch::Merge(label);
        nodes
            .patch("virtual", &PatchParams::default(), &patch)
            .await?;
        Ok(Self {
            helm: cluster.helm().await?,
            cluster,
        })
    }

    async fn helm(&self, command: &[&str], values: &Value) -> Result<String> {
        let chart = chart().to_str().context("a path is text")?;
        let arguments = command.iter().copied();
        let arguments = arguments.chain(["stillpoint", chart, "--namespace=backup", "--values=-"]);
        self.helm.run(arguments, Some(values)).await
    }

    /// The nodes of the ready pods of that name whose image ends so.
    async fn nodes(&self, name: &str, image: &str) -> Result<Vec<String>> {
        let pods: Api<Pod> = Api::namespaced(self.cluster.client(), "backup");
        let params = ListParams::default().labels(&format!("app.kubernetes.io/name={name}"));
        let pods = pods.list(&params).await?.items.into_iter();
        let ready = pods.filter(|pod| {
            let conditions = pod.status.iter().flat_map(|status| &status.conditions);
            let mut conditions = conditions.flatten();
            let leaves = pod.metadata.deletion_timestamp.is_some();
            !leaves && conditions.any(|found| found.type_ == "Ready" && found.status == "True")
        });
        let specs = ready.filter_map(|pod| pod.spec);
        let of_image = specs.filter(|spec| {
            let image = |found: &String| found.ends_with(image);
            spec.containers[0].image.as_ref().is_some_and(image)
        });
        let mut nodes: Vec<_> = of_image.filter_map(|spec| spec.node_name).collect();
        nodes.sort();
        Ok(nodes)
    }

    /// Waits until each node has its agent and the gate two replicas on two nodes, all of that image, and no others.
    async fn runs(&self, tag: &str) -> Result<()> {
        until(&format!("all runs at {tag}"), SOON, async || {
            let agents = self.nodes("stillpoint-agent", tag).await?;
            ensure!(agents == ["spot", "system", "user"], "agents on {agents:?}");
            let mut gates = self.nodes("stillpoint-gate", tag).await?;
            ensure!(gates.len() == 2, "gates on {gates:?}");
            gates.dedup();
            ensure!(gates == ["system", "user"], "gates on {gates:?}");
            let all = self.nodes("stillpoint-agent", "").await?.len();
            ensure!(all == 3, "{all} agents");
            Ok(Some(()))
        })
        .await
    }

    /// The objects of the release in the cluster, as `Kind name`.
    async fn left(&self, objects: &[Value]) -> Result<Vec<String>> {
        let mut left = Vec::new();
        for object in objects {
            if self.cluster.find(object).await?.is_some() {
                left.push(format!("{} {}", object["kind"], object["metadata"]["name"]));
            }
        }
        Ok(left)
    }
}

async fn all(site: &Site) -> Result<()> {
    let image = |tag: &str| json!({ "registry": "registry.example.com", "tag": tag });
    let values = json!({ "image": image("1.0.0") });
    let install = ["install", "--create-namespace", "--wait", "--timeout=90s"];
    let notes = site.helm(&install, &values).await?;
    for part in [
        "kubectl -n backup get lease",
        "velero plugin add registry.example.com/velero-plugin-stillpoint:1.0.0 -n backup",
        "the gate has",
    ] {
        ensure!(notes.to_lowercase().contains(part), "{part} in {notes}");
    }
    site.runs(":1.0.0").await?;

    // What the gate has written into its webhooks stays in an upgrade.
    let client = site.cluster.client();
    let webhooks: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
    let names = ["contents.gate.stillpoint.io", "groups.gate.stillpoint.io"];
    let bundle = fs::read(site.cluster.directory().join("ca.crt"))?;
    let bundle = STANDARD.encode(bundle);
    let trusting = |name| json!({ "name": name, "clientConfig": { "caBundle": bundle } });
    let patch = Patch::Strategic(json!({ "webhooks": names.map(trusting) }));
    let by_gate = PatchParams {
        field_manager: Some("stillpoint-gate".into()),
        ..PatchParams::default()
    };
    webhooks.patch("stillpoint-gate", &by_gate, &patch).await?;
    let values = json!({
        "image": image("1.1.0"),
        "gate": { "excludeNamespaces": ["ci"], "timeoutSeconds": 7 },
    });
    site.helm(&["upgrade"], &values).await?;
    site.runs(":1.1.0").await?;
    let configuration = webhooks.get("stillpoint-gate").await?;
    for webhook in configuration.webhooks.into_iter().flatten() {
        ensure!(webhook.client_config.ca_bundle.is_some(), "{webhook:?}");
        ensure!(webhook.timeout_seconds == Some(7), "{webhook:?}");
        let conditions = webhook.match_conditions.into_iter().flatten();
        ensure!(conditions.count() == 5, "no excluded namespaces");
    }
    // Nothing changes, nothing restarts.
    let sets: Api<DaemonSet> = Api::namespaced(client.clone(), "backup");
    let gates: Api<Deployment> = Api::namespaced(client, "backup");
    let generations = async || -> Result<_> {
        let set = sets.get("stillpoint-agent").await?.metadata.generation;
        let gate = gates.get("stillpoint-gate").await?.metadata.generation;
        Ok((set, gate))
    };
    let before = generations().await?;
    site.helm(&["upgrade"], &values).await?;
    ensure!(generations().await? == before, "an upgrade to the same");

    let uninstall = ["uninstall", "stillpoint", "--namespace=backup", "--wait"];
    let mut objects = rendered(&values).await?;
    for object in &mut objects {
        if object["metadata"]["namespace"] == "velero" {
            object["metadata"]["namespace"] = json!("backup");
        }
    }
    let there = site.left(&objects).await?.len();
    ensure!(there == objects.len(), "{there} of {}", objects.len());
    site.helm.run(uninstall, None).await?;
    let left = site.left(&objects).await?;
    ensure!(left.is_empty(), "{left:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_chart_is_installed_upgraded_and_uninstalled_and_leaves_nothing() {
    if let Some(why) = missing() {
        eprintln!("SKIPPED: {why}");
        return;
    }
    let site = Site::start().await.unwrap();
    all(&site).await.unwrap();
}
