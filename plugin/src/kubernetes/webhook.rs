//! Where the gate's replicas share their certificate, and API servers learn to trust it: a Secret and a
//! MutatingWebhookConfiguration.
//!
//! Both are written only as they were seen (`resourceVersion`), so of two replicas one wins and the other looks again.

use std::{collections::BTreeMap, path::Path};

use async_trait::async_trait;
use k8s_openapi::{
    ByteString,
    api::{admissionregistration::v1::MutatingWebhookConfiguration, core::v1::Secret},
};
use kube::{
    Api, Error, ResourceExt as _,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
};
use serde_json::json;

use super::{PATIENCE, connect::Connection, described};
use crate::gate::door::{Cluster, ClusterError, Material, Options, Stored, Trust};

/// Of what the gate writes.
const MANAGER: &str = "stillpoint-gate";
const SECRET: &str = "stillpoint-gate-certificate";
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";
const AUTHORITIES: &str = "ca.crt";
const CONFLICT: u16 = 409;
const NOT_FOUND: u16 = 404;
const GONE_OR_NEW: [u16; 2] = [CONFLICT, NOT_FOUND];

/// The objects of one gate.
pub struct Webhook {
    namespace: String,
    configuration: String,
    secrets: Api<Secret>,
    configurations: Api<MutatingWebhookConfiguration>,
}

impl Webhook {
    /// In the cluster that `kubeconfig` names, or this pod's, or `KUBECONFIG`'s. Asks nothing yet.
    ///
    /// # Errors
    /// There is no configuration that can be used.
    pub async fn connect(kubeconfig: Option<&Path>, options: &Options) -> Result<Self, String> {
        let connection = Connection::new(kubeconfig).await;
        let connection = connection.map_err(|error| error.to_string())?;
        let namespace = options.namespace.clone().unwrap_or(connection.home);
        Ok(Self {
            secrets: Api::namespaced(connection.client.clone(), &namespace),
            configurations: Api::all(connection.client),
            namespace,
            configuration: options.webhook_configuration.clone(),
        })
    }

    fn secret(&self) -> String {
        format!("{}/{SECRET}", self.namespace)
    }
}

#[async_trait]
impl Cluster for Webhook {
    fn namespace(&self) -> &str {
        &self.namespace
    }

    async fn stored(&self) -> Result<Option<Stored>, ClusterError> {
        let secret = found(self.secrets.get(SECRET)).await;
        let secret = secret.map_err(|reason| failed(&self.secret(), &reason))?;
        Ok(secret.map(|secret| {
            let version = secret.resource_version().unwrap_or_default();
            let mut data = secret.data.unwrap_or_default();
            let mut take = |key| data.remove(key).unwrap_or_default().0;
            Stored {
                version,
                material: Material {
                    certificate: take(CERTIFICATE),
                    key: take(KEY),
                    authorities: take(AUTHORITIES),
                },
            }
        }))
    }

    async fn store(&self, material: &Material, seen: Option<&str>) -> Result<(), ClusterError> {
        let data = [
            (CERTIFICATE, &material.certificate),
            (KEY, &material.key),
            (AUTHORITIES, &material.authorities),
        ];
        let data = data.map(|(key, value)| (key.to_owned(), ByteString(value.clone())));
        let params = PostParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PostParams::default()
        };
        let written = match seen {
            None => {
                let secret = Secret {
                    metadata: ObjectMeta {
                        name: Some(SECRET.to_owned()),
                        labels: Some(BTreeMap::from([(
                            "app.kubernetes.io/name".to_owned(),
                            MANAGER.to_owned(),
                        )])),
                        ..ObjectMeta::default()
                    },
                    type_: Some("kubernetes.io/tls".to_owned()),
                    data: Some(data.into()),
                    ..Secret::default()
                };
                within(&[CONFLICT], self.secrets.create(&params, &secret)).await
            }
            Some(version) => {
                // A patch, so that labels and whatever else others have written stay.
                let data: BTreeMap<_, _> = data.into();
                let patch = json!({ "metadata": { "resourceVersion": version }, "data": data });
                let params = params_of();
                let patch = Patch::Merge(patch);
                within(&GONE_OR_NEW, self.secrets.patch(SECRET, &params, &patch)).await
            }
        };
        written.map_err(|error| error.of(&self.secret()))
    }

    async fn trust(&self) -> Result<Option<Trust>, ClusterError> {
        let name = &self.configuration;
        let found = found(self.configurations.get(name)).await;
        let found = found.map_err(|reason| failed(name, &reason))?;
        Ok(found.map(|configuration| Trust {
            version: configuration.resource_version().unwrap_or_default(),
            webhooks: configuration
                .webhooks
                .into_iter()
                .flatten()
                .map(|webhook| {
                    let bundle = webhook.client_config.ca_bundle;
                    (webhook.name, bundle.unwrap_or_default().0)
                })
                .collect(),
        }))
    }

    async fn set_trust(&self, seen: &Trust, authorities: &[u8]) -> Result<(), ClusterError> {
        let bundle = ByteString(authorities.to_vec());
        let webhooks: Vec<_> = seen
            .webhooks
            .iter()
            .map(|(name, _)| json!({ "name": name, "clientConfig": { "caBundle": bundle } }))
            .collect();
        let version = &seen.version;
        // Merged by the webhooks' names.
        let patch = json!({ "metadata": { "resourceVersion": version }, "webhooks": webhooks });
        let name = &self.configuration;
        let (params, patch) = (params_of(), Patch::Strategic(patch));
        let patched = within(
            &GONE_OR_NEW,
            self.configurations.patch(name, &params, &patch),
        )
        .await;
        patched.map_err(|error| error.of(name))
    }
}

fn failed(what: &str, reason: &str) -> ClusterError {
    ClusterError::Failed(format!("{what}: {reason}"))
}

fn params_of() -> PatchParams {
    PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    }
}

enum Unwritten {
    Changed,
    Failed(String),
}

impl Unwritten {
    fn of(self, what: &str) -> ClusterError {
        match self {
            Self::Changed => ClusterError::Changed,
            Self::Failed(reason) => failed(what, &reason),
        }
    }
}

/// A write within [`PATIENCE`]; the codes say that another was quicker.
async fn within<T>(
    changed: &[u16],
    answer: impl Future<Output = kube::Result<T>>,
) -> Result<(), Unwritten> {
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(Error::Api(status))) if changed.contains(&status.code) => Err(Unwritten::Changed),
        Ok(Err(error)) => Err(Unwritten::Failed(described(&error))),
        Err(_) => Err(Unwritten::Failed(format!("no answer within {PATIENCE:?}"))),
    }
}

/// `None` if there is none.
async fn found<T>(answer: impl Future<Output = kube::Result<T>>) -> Result<Option<T>, String> {
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(Ok(found)) => Ok(Some(found)),
        Ok(Err(Error::Api(status))) if status.code == NOT_FOUND => Ok(None),
        Ok(Err(error)) => Err(described(&error)),
        Err(_) => Err(format!("no answer within {PATIENCE:?}")),
    }
}
