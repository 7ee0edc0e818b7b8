//! What tests do with a cluster's objects.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::{Node, ServiceAccount},
};
use kube::{
    Api, Client, Error,
    api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams},
    core::{GroupVersionKind, TypeMeta},
    discovery::{self, Scope},
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout_at};

use crate::Cluster;

const POLL: Duration = Duration::from_millis(50);
/// For what follows by itself from something that was just written.
pub(crate) const FOLLOWS_WITHIN: Duration = Duration::from_secs(30);
const FIELD_MANAGER: &str = "stillpoint-cluster";

/// Asks `probe` until it answers `Some`. After `within` the last error is returned, or that `what` did not happen.
pub async fn until<T>(
    what: &str,
    within: Duration,
    mut probe: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + within;
    let mut last = anyhow!("no answer");
    loop {
        match timeout_at(deadline, probe()).await {
            Ok(Ok(Some(found))) => return Ok(found),
            Ok(Ok(None)) => last = anyhow!("not yet"),
            Ok(Err(error)) => last = error,
            // What was said before tells more.
            Err(_) => {}
        }
        if Instant::now() >= deadline {
            return Err(last.context(format!("{what}: not within {within:?}")));
        }
        sleep(POLL).await;
    }
}

impl Cluster {
    /// Writes an object as `kubectl apply --server-side` does, and its `status`, if it has one, as a controller does.
    /// Waits for what must be there first: the kind, and the default service account of a new namespace.
    pub async fn apply(&self, object: Value) -> Result<DynamicObject> {
        let name = format!("{} {}", object["kind"], object["metadata"]["name"]);
        let client = self.client();
        let deadline = Instant::now() + FOLLOWS_WITHIN;
        loop {
            match apply(&client, &object).await {
                Err(error) if comes_later(&error) && Instant::now() < deadline => sleep(POLL).await,
                applied => return applied.with_context(|| format!("cannot apply {name}")),
            }
        }
    }

    /// The same for each document of a YAML stream.
    pub async fn apply_yaml(&self, stream: &str) -> Result<()> {
        let documents: Vec<Value> = serde_saphyr::from_multiple(stream)?;
        for object in documents.into_iter().filter(|object| !object.is_null()) {
            self.apply(object).await?;
        }
        Ok(())
    }

    /// The one in the cluster of that kind, name and namespace, if there is one.
    pub async fn find(&self, object: &Value) -> Result<Option<DynamicObject>> {
        let object: DynamicObject = serde_json::from_value(object.clone())?;
        let types = object.types.unwrap_or_default();
        let namespace = object.metadata.namespace.as_deref();
        let api = api_of(&self.client(), &types, namespace).await?;
        Ok(api
            .get_opt(&object.metadata.name.unwrap_or_default())
            .await?)
    }

    /// A node in `zone` (`westeurope-1`) that is ready for pods.
    pub async fn add_node(&self, name: &str, zone: &str) -> Result<()> {
        let region = zone.rsplit_once('-').map_or(zone, |(region, _)| region);
        self.apply(json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": name,
                "labels": {
                    "kubernetes.io/arch": "amd64",
                    "kubernetes.io/hostname": name,
                    "kubernetes.io/os": "linux",
                    "topology.disk.csi.azure.com/zone": zone,
                    "topology.kubernetes.io/region": region,
                    "topology.kubernetes.io/zone": zone,
                },
                // What a kubelet says, so that Kubernetes makes the VolumeAttachments of its pods.
                "annotations": { "volumes.kubernetes.io/controller-managed-attach-detach": "true" },
            },
            "spec": { "providerID": format!("azure:///{name}") },
        }))
        .await?;
        let nodes: Api<Node> = Api::all(self.client());
        until(
            &format!("node {name} takes pods"),
            FOLLOWS_WITHIN,
            async || {
                let node = nodes.get(name).await?;
                let conditions = node.status.and_then(|status| status.conditions);
                let ready = conditions.iter().flatten();
                let ready = ready.filter(|found| found.type_ == "Ready" && found.status == "True");
                let taints = node.spec.and_then(|spec| spec.taints);
                Ok(
                    (ready.count() == 1 && taints.is_none_or(|taints| taints.is_empty()))
                        .then_some(()),
                )
            },
        )
        .await
    }

    /// A service account, made if it is not there, and a token of it for `audience`; for the API server if `None`.
    pub async fn token(
        &self,
        namespace: &str,
        account: &str,
        audience: Option<&str>,
    ) -> Result<String> {
        self.apply(json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": { "name": account, "namespace": namespace },
        }))
        .await?;
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: audience.into_iter().map(Into::into).collect(),
                ..Default::default()
            },
            ..Default::default()
        };
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client(), namespace);
        let answer = accounts
            .create_token_request(account, &PostParams::default(), &request)
            .await?;
        Ok(answer
            .status
            .context("a token request without answer")?
            .token)
    }
}

async fn apply(client: &Client, object: &Value) -> Result<DynamicObject, Error> {
    let mut object: DynamicObject =
        serde_json::from_value(object.clone()).map_err(Error::SerdeError)?;
    let name = object.metadata.name.clone().unwrap_or_default();
    let types = object.types.clone().unwrap_or_default();
    let api = api_of(client, &types, object.metadata.namespace.as_deref()).await?;
    let status = object.data.as_object_mut();
    let status = status.and_then(|fields| fields.remove("status"));
    let how = PatchParams::apply(FIELD_MANAGER).force();
    let applied = api.patch(&name, &how, &Patch::Apply(&object)).await?;
    let Some(status) = status else {
        return Ok(applied);
    };
    let status = Patch::Merge(json!({ "status": status }));
    api.patch_status(&name, &PatchParams::default(), &status)
        .await
}

async fn api_of(
    client: &Client,
    types: &TypeMeta,
    namespace: Option<&str>,
) -> Result<Api<DynamicObject>, Error> {
    let kind =
        GroupVersionKind::try_from(types).map_err(|error| Error::Service(Box::new(error)))?;
    let (resource, capabilities): (ApiResource, _) = discovery::pinned_kind(client, &kind).await?;
    let client = client.clone();
    Ok(match capabilities.scope {
        Scope::Cluster => Api::all_with(client, &resource),
        Scope::Namespaced => {
            Api::namespaced_with(client, namespace.unwrap_or("default"), &resource)
        }
    })
}

/// A custom resource's kind is served, and a namespace has its default account, a moment after they were made.
fn comes_later(error: &Error) -> bool {
    match error {
        Error::Discovery(_) => true,
        Error::Api(status) => {
            status.code == 404 || status.code == 403 && status.message.contains("serviceaccount")
        }
        _ => false,
    }
}
