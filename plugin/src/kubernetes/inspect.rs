//! The cluster as somebody looks at it who wants to know whether everything is there.

use std::time::SystemTime;

use k8s_openapi::{
    api::{
        authorization::v1::{
            ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
        },
        coordination::v1::Lease,
        core::v1::Secret,
    },
    jiff,
};
use kube::{
    Api, ResourceExt as _,
    api::{ListParams, PostParams},
    client::Body,
};

use super::{Cluster, View, lease::PREFIX, patiently};
use crate::{config::ServiceAccount, model::VolumeId};

const LABEL: &str = "app.kubernetes.io/name=stillpoint-agent";

/// What the plugin must be allowed, and for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Right {
    /// `list persistentvolumes`.
    pub what: String,
    /// What it is for.
    pub purpose: &'static str,
    /// Whether it is granted; an error if Kubernetes does not tell.
    pub granted: Result<bool, String>,
}

/// A volume of the cluster and the nodes to which it is attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The volume.
    pub volume: VolumeId,
    /// The nodes.
    pub nodes: Vec<String>,
}

/// Where a right is needed.
#[derive(Clone, Copy)]
enum Place {
    Everywhere,
    /// Where the agents' Leases are.
    Agents,
    /// Where Velero is.
    Velero,
}

use Place::{Agents, Everywhere, Velero};

const FIND: &str = "to find the nodes of volumes";
const SWEEP: &str = "to sweep what a killed backup or plugin left";
const WISHES: &str = "to read what owners ask for";

/// Group, resource, verb, where, and what for.
const WANTED: [(&str, &str, &str, Place, &str); 14] = [
    ("", "persistentvolumes", "list", Everywhere, FIND),
    ("", "persistentvolumes", "watch", Everywhere, FIND),
    (
        "storage.k8s.io",
        "volumeattachments",
        "list",
        Everywhere,
        FIND,
    ),
    (
        "storage.k8s.io",
        "volumeattachments",
        "watch",
        Everywhere,
        FIND,
    ),
    ("", "pods", "list", Everywhere, FIND),
    ("", "persistentvolumeclaims", "get", Everywhere, WISHES),
    ("", "namespaces", "get", Everywhere, WISHES),
    ("", "events", "create", Everywhere, "to tell owners"),
    (
        "coordination.k8s.io",
        "leases",
        "get",
        Agents,
        "to find the agents",
    ),
    ("velero.io", "backups", "list", Velero, SWEEP),
    ("velero.io", "downloadrequests", "create", Velero, SWEEP),
    ("velero.io", "downloadrequests", "get", Velero, SWEEP),
    ("velero.io", "downloadrequests", "delete", Velero, SWEEP),
    ("velero.io", "backupstoragelocations", "get", Velero, SWEEP),
];

impl View {
    async fn here(&self) -> Result<std::sync::Arc<Cluster>, String> {
        self.kubernetes.cluster().await
    }

    /// The server's version, and what time it has.
    ///
    /// # Errors
    /// Why it does not answer.
    pub async fn server(&self) -> Result<(String, Option<SystemTime>), String> {
        let cluster = self.here().await?;
        let request = http::Request::get("/version").body(Body::empty());
        let request = request.map_err(|error| error.to_string())?;
        let answer = patiently(cluster.client.send(request)).await?;
        let date = answer.headers().get(http::header::DATE);
        let date = date.and_then(|date| jiff::fmt::rfc2822::parse(date.to_str().ok()?).ok());
        let version = patiently(cluster.client.apiserver_version()).await?;
        let time = date.map(|date| date.timestamp().into());
        Ok((version.git_version, time))
    }

    /// As whom the agents are asked, and in which namespace they announce themselves.
    ///
    /// # Errors
    /// Why there is no cluster.
    pub async fn place(&self) -> Result<(ServiceAccount, String), String> {
        let cluster = self.here().await?;
        let account = cluster.account(self.account.as_ref());
        Ok((account, cluster.leases.namespace.clone()))
    }

    /// What we may do here.
    ///
    /// # Errors
    /// Why there is no cluster.
    pub async fn rights(&self) -> Result<Vec<Right>, String> {
        let cluster = self.here().await?;
        let account = cluster.account(self.account.as_ref());
        let mut rights = Vec::new();
        for (group, resource, verb, place, purpose) in WANTED {
            let namespace = match place {
                Everywhere => None,
                Agents => Some(cluster.leases.namespace.clone()),
                Velero => Some(cluster.home.clone()),
            };
            let within = namespace.as_ref();
            let within = within.map(|namespace| format!(" in {namespace}"));
            let attributes = ResourceAttributes {
                group: Some(group.to_owned()),
                resource: Some(resource.to_owned()),
                verb: Some(verb.to_owned()),
                namespace,
                ..ResourceAttributes::default()
            };
            rights.push(Right {
                what: format!("{verb} {resource}{}", within.unwrap_or_default()),
                purpose,
                granted: cluster.may(attributes).await,
            });
        }
        let attributes = ResourceAttributes {
            group: Some(String::new()),
            resource: Some("serviceaccounts".to_owned()),
            subresource: Some("token".to_owned()),
            verb: Some("create".to_owned()),
            namespace: Some(account.namespace.clone()),
            name: Some(account.name.clone()),
            ..ResourceAttributes::default()
        };
        rights.push(Right {
            what: format!("create serviceaccounts/token of {account}"),
            purpose: "to show agents who asks",
            granted: cluster.may(attributes).await,
        });
        Ok(rights)
    }

    /// The volumes that are attached to a node.
    ///
    /// # Errors
    /// Why that is not known.
    pub async fn attached(&self) -> Result<Vec<Attached>, String> {
        let cluster = self.here().await?;
        cluster.volumes.current().await?;
        cluster.attachments.current().await?;
        let mut volumes = cluster.volumes.find(|_, volume| Some(volume.id.clone()));
        volumes.sort_by_key(ToString::to_string);
        volumes.dedup();
        let attached = volumes.into_iter().map(|volume| Attached {
            nodes: cluster.nodes(&volume, &cluster.volumes(&volume)),
            volume,
        });
        Ok(attached.filter(|one| !one.nodes.is_empty()).collect())
    }

    /// The nodes whose agents have announced themselves, whether or not they still live.
    ///
    /// # Errors
    /// Why that is not known.
    pub async fn announced(&self) -> Result<Vec<String>, String> {
        let cluster = self.here().await?;
        let leases: Api<Lease> = Api::namespaced(cluster.client.clone(), &cluster.leases.namespace);
        let all = patiently(leases.list(&ListParams::default().labels(LABEL))).await?;
        let names = all.items.iter().map(|lease| lease.name_any());
        Ok(names
            .filter_map(|name| name.strip_prefix(PREFIX).map(str::to_owned))
            .collect())
    }

    /// What a Secret of Velero's namespace says under a key.
    ///
    /// # Errors
    /// Why it does not.
    pub async fn secret(&self, name: &str, key: &str) -> Result<Vec<u8>, String> {
        let cluster = self.here().await?;
        let secrets: Api<Secret> = Api::namespaced(cluster.client.clone(), &cluster.home);
        let place = format!("Secret {}/{name}", cluster.home);
        let secret = patiently(secrets.get(name)).await;
        let secret = secret.map_err(|reason| format!("{place}: {reason}"))?;
        let data = secret.data.and_then(|mut data| data.remove(key));
        let data = data.ok_or_else(|| format!("{place} has no key `{key}`"))?;
        Ok(data.0)
    }
}

impl Cluster {
    async fn may(&self, attributes: ResourceAttributes) -> Result<bool, String> {
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(attributes),
                non_resource_attributes: None,
            },
            ..SelfSubjectAccessReview::default()
        };
        let reviews: Api<SelfSubjectAccessReview> = Api::all(self.client.clone());
        let answer = patiently(reviews.create(&PostParams::default(), &review)).await?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }
}
