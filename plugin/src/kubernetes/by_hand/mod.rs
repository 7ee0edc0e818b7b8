//! The cluster as a person works with it: claims to be snapshotted, where a disk can be brought back to, objects written.

mod claims;
mod site;
mod write;

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client};

pub use claims::{Claim, Scope};
pub use site::Site;
pub use write::{Workload, WriteError};

use super::{Cluster, Kubernetes, described};

/// For one answer: the API server may be far away.
const PATIENCE: Duration = Duration::from_secs(30);
/// Its UID stands for the cluster.
const SYSTEM: &str = "kube-system";

/// See the module.
pub struct ByHand {
    client: Client,
    cluster: Arc<Cluster>,
}

impl Kubernetes {
    /// What a person does there.
    ///
    /// # Errors
    /// The reason, if there is no configuration that can be used.
    pub async fn by_hand(&self) -> Result<ByHand, String> {
        let cluster = self.cluster().await?;
        Ok(ByHand {
            client: cluster.client.clone(),
            cluster,
        })
    }
}

impl ByHand {
    /// The namespace of who does not say which.
    pub fn default_namespace(&self) -> &str {
        &self.cluster.default_namespace
    }

    /// What tells the cluster from others; `None` if we may not know.
    pub async fn identity(&self) -> Option<String> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let system = answer("namespace kube-system", namespaces.get_metadata(SYSTEM)).await;
        match system {
            Ok(system) => system.metadata.uid,
            Err(reason) => {
                tracing::info!(reason, "the cluster's identity is not known");
                None
            }
        }
    }
}

/// An answer in time, or the reason why there is none.
async fn answer<T>(what: &str, asked: impl Future<Output = kube::Result<T>>) -> Result<T, String> {
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(answer) => answer.map_err(|error| format!("{what}: {}", described(&error))),
        Err(_) => Err(format!("{what}: no answer within {PATIENCE:?}")),
    }
}
