//! What the agent needs of Kubernetes: its judgement of tokens, and a Lease under which it is found.
//!
//! Never on the way from a freeze to its thaw.

mod announcement;
mod review;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use thiserror::Error;

pub(crate) use self::{
    announcement::{Announced, Announcement},
    review::TokenReviews,
};

/// Where a pod's service account is mounted.
const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";
/// In every pod.
const HOST: &str = "KUBERNETES_SERVICE_HOST";
/// Outside a cluster the agents are looked for where Velero is.
const NAMESPACE: &str = "velero";
const CONNECT: Duration = Duration::from_secs(5);

/// Why Kubernetes cannot be reached at all.
#[derive(Debug, Error)]
pub(crate) enum KubernetesError {
    #[error("kubeconfig {}: {source}; set it with --kubeconfig (STILLPOINT_KUBECONFIG)", .path.display())]
    Kubeconfig {
        path: PathBuf,
        source: kube::config::KubeconfigError,
    },
    #[error("the service account in {TOKEN}: {0}")]
    InCluster(#[from] kube::config::InClusterError),
    #[error("Kubernetes' client: {0}")]
    Client(#[from] kube::Error),
}

/// A way to Kubernetes' API.
pub(crate) struct Kubernetes {
    pub(crate) client: Client,
    /// The agents', if nobody names another.
    pub(crate) namespace: String,
}

impl Kubernetes {
    /// By `kubeconfig`, or as the service account of this pod; `None` where there is neither. Asks nothing yet.
    pub(crate) async fn configured(
        kubeconfig: Option<&Path>,
    ) -> Result<Option<Self>, KubernetesError> {
        // A person's own ~/.kube/config or KUBECONFIG is not meant for an agent.
        let (mut config, namespace) = match kubeconfig {
            Some(path) => (outside(path).await?, NAMESPACE.to_owned()),
            None if in_pod() => {
                let config = Config::incluster()?;
                let namespace = config.default_namespace.clone();
                (config, namespace)
            }
            None => return Ok(None),
        };
        config.connect_timeout = Some(CONNECT);
        // Each call has its own limit, and its own way to try again.
        config.default_retry = false;
        Ok(Some(Self {
            client: Client::try_from(config)?,
            namespace,
        }))
    }
}

/// Whether this process is in a pod with a service account.
pub(crate) fn in_pod() -> bool {
    std::env::var_os(HOST).is_some() && Path::new(TOKEN).exists()
}

async fn outside(path: &Path) -> Result<Config, KubernetesError> {
    let read = async {
        let kubeconfig = Kubeconfig::read_from(path)?;
        Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await
    };
    read.await.map_err(|source| KubernetesError::Kubeconfig {
        path: path.to_owned(),
        source,
    })
}

/// An error with what is behind it, on one line.
pub(crate) fn described(error: &kube::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = error.source();
    }
    text
}
