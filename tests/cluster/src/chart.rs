//! The project's chart in `deploy/chart`, by the real helm.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::{
    apps::v1::DaemonSet,
    authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec},
    core::v1::{Pod, ServiceAccount},
};
use kube::{
    Api,
    api::{ListParams, PostParams},
};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt as _, process::Command};

use crate::{Cluster, objects::until, part::Part, programs};

const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/chart");
const NAMESPACE: &str = "velero";
const AGENT: &str = "stillpoint-agent";

/// Where the chart is.
pub fn chart() -> &'static Path {
    Path::new(CHART)
}

/// The objects that helm makes of the chart in namespace `velero` with these values.
pub async fn rendered(values: &Value) -> Result<Vec<Value>> {
    let mut values = values.clone();
    let image = json!({ "registry": "registry.example.com/stillpoint" });
    let fields = values.as_object_mut().context("values are an object")?;
    fields.entry("image").or_insert(image);
    let arguments = ["template", "stillpoint", CHART, "--namespace", NAMESPACE];
    let arguments = arguments.into_iter().chain(["--values=-"]);
    let home = tempfile::tempdir()?;
    let helm = Helm::new(home.path(), None).await?;
    let manifests = helm.run(arguments, Some(&values)).await?;
    let objects: Vec<Value> = serde_saphyr::from_multiple(&manifests)?;
    Ok(objects.into_iter().filter(|one| !one.is_null()).collect())
}

/// Real helm.
#[derive(Clone, Debug)]
pub struct Helm {
    program: PathBuf,
    home: PathBuf,
    kubeconfig: Option<PathBuf>,
}

impl Helm {
    /// One that keeps its files in `home`; compiled at first need.
    pub async fn new(home: &Path, kubeconfig: Option<PathBuf>) -> Result<Self> {
        Ok(Self {
            program: programs::path("helm").await?,
            home: home.to_owned(),
            kubeconfig,
        })
    }

    /// Runs it and returns what it prints; `values` are its standard input, for `--values=-`.
    pub async fn run(
        &self,
        arguments: impl IntoIterator<Item = &str>,
        values: Option<&Value>,
    ) -> Result<String> {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .env("HOME", &self.home)
            .env_remove("KUBECONFIG")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        for variable in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
            command.env(variable, self.home.join(variable));
        }
        if let Some(kubeconfig) = &self.kubeconfig {
            command.arg("--kubeconfig").arg(kubeconfig);
        }
        let mut child = command.spawn().context("cannot run helm")?;
        if let (Some(mut stdin), Some(values)) = (child.stdin.take(), values) {
            stdin.write_all(values.to_string().as_bytes()).await?;
        }
        let output = child.wait_with_output().await?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(
            output.status.success(),
            "{:?}: {}\n{said}{}",
            command.as_std(),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(said)
    }
}

impl Cluster {
    /// Namespace `velero` and in it what the chart makes of these values, the gate too if `gate.enabled` is.
    pub async fn apply_chart(&self, values: &Value) -> Result<()> {
        self.apply(json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE },
        }))
        .await?;
        for object in rendered(values).await? {
            self.apply(object).await?;
        }
        Ok(())
    }

    /// A helm that installs into this cluster.
    pub async fn helm(&self) -> Result<Helm> {
        Helm::new(&self.directory().join("helm"), Some(self.kubeconfig())).await
    }

    /// A kubeconfig for the chart's agent on that node: its token is bound to the agent's pod there, as the one that a
    /// kubelet mounts.
    pub async fn agent_kubeconfig(&self, node: &str) -> Result<PathBuf> {
        let pod = match self.part_runs(Part::ControllerManager) {
            true => self.agent_pod(node).await?,
            false => self.make_agent_pod(node).await?,
        };
        let request = TokenRequest {
            spec: TokenRequestSpec {
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".into()),
                    kind: Some("Pod".into()),
                    name: pod.metadata.name,
                    uid: pod.metadata.uid,
                }),
                ..Default::default()
            },
            ..Default::default()
        };
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client(), NAMESPACE);
        let answer = accounts
            .create_token_request(AGENT, &PostParams::default(), &request)
            .await?;
        let status = answer.status.context("a token request without answer")?;
        self.kubeconfig_with(&format!("{AGENT}-{node}"), &status.token)
    }

    /// The pod that the DaemonSet has on the node.
    async fn agent_pod(&self, node: &str) -> Result<Pod> {
        let pods: Api<Pod> = Api::namespaced(self.client(), NAMESPACE);
        let here = ListParams::default()
            .labels(&format!("app.kubernetes.io/name={AGENT}"))
            .fields(&format!("spec.nodeName={node}"));
        let what = format!("the agent's pod on {node}");
        until(&what, crate::objects::FOLLOWS_WITHIN, async || {
            Ok(pods.list(&here).await?.items.pop())
        })
        .await
    }

    /// The same where no controller makes it.
    async fn make_agent_pod(&self, node: &str) -> Result<Pod> {
        let sets: Api<DaemonSet> = Api::namespaced(self.client(), NAMESPACE);
        let template = sets
            .get(AGENT)
            .await?
            .spec
            .context("a DaemonSet has a spec")?;
        let mut pod = serde_json::to_value(template.template)?;
        pod["apiVersion"] = json!("v1");
        pod["kind"] = json!("Pod");
        pod["metadata"]["namespace"] = json!(NAMESPACE);
        pod["metadata"]["name"] = json!(format!("{AGENT}-on-{node}"));
        pod["spec"]["nodeName"] = json!(node);
        let pod = self.apply(pod).await?;
        Ok(serde_json::from_value(serde_json::to_value(pod)?)?)
    }
}
