//! The way to Kubernetes' API, and who we are there.

use std::{
    env,
    path::{Path, PathBuf},
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde::Deserialize;
use thiserror::Error;

use crate::config::ServiceAccount;

/// Where a pod's service account is mounted.
const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";
/// In every pod.
const HOST: &str = "KUBERNETES_SERVICE_HOST";
/// Where the agents' Leases are, if not in Velero's namespace.
const NAMESPACE_VARIABLE: &str = "STILLPOINT_NAMESPACE";
/// Velero's, and its account's name, where nobody tells.
pub(super) const NAMESPACE: &str = "velero";
const CONNECT: Duration = Duration::from_secs(2);
const CONNECT_FROM_AFAR: Duration = Duration::from_secs(10);
const KUBECONFIG: &str = "KUBECONFIG";
/// On a watch the API server says something every minute.
const SILENCE: Duration = Duration::from_secs(100);

/// Why Kubernetes cannot be asked at all.
#[derive(Debug, Error)]
pub(super) enum ConnectError {
    #[error(
        "no Kubernetes is configured: expected a pod with a service account, `--kubeconfig` (the plugin's is that of Velero's server), or KUBECONFIG"
    )]
    Nowhere,
    #[error("kubeconfig {}: {source}; set by `--kubeconfig` (the plugin's is that of Velero's server), or KUBECONFIG", .path.display())]
    Kubeconfig {
        path: PathBuf,
        source: kube::config::KubeconfigError,
    },
    #[error("KUBECONFIG: {0}")]
    Environment(#[source] kube::config::KubeconfigError),
    #[error("the service account in {TOKEN}: {0}")]
    InCluster(#[from] kube::config::InClusterError),
    #[error("the client of Kubernetes: {0}")]
    Client(#[from] kube::Error),
}

/// A way to the API.
pub(super) struct Connection {
    pub(super) client: Client,
    /// Velero's namespace.
    pub(super) home: String,
    /// Of the agents' Leases.
    pub(super) namespace: String,
    /// Ours, if we are in a pod.
    pub(super) account: Option<ServiceAccount>,
    /// Where a person's objects are, if they do not say.
    pub(super) default_namespace: String,
}

/// How a person names a cluster.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// `--kubeconfig`; `None`: KUBECONFIG, `~/.kube/config`, this pod's account, in this order, as kubectl does.
    pub kubeconfig: Option<PathBuf>,
    /// `--context`.
    pub context: Option<String>,
    /// Where the agents' Leases are.
    pub agents: String,
}

impl Connection {
    /// Asks nothing yet.
    pub(super) async fn new(kubeconfig: Option<&Path>) -> Result<Self, ConnectError> {
        let (mut config, home, account) = if let Some(path) = kubeconfig {
            let failed = |source| ConnectError::Kubeconfig {
                path: path.to_owned(),
                source,
            };
            let read = Kubeconfig::read_from(path).map_err(failed)?;
            (outside(read).await.map_err(failed)?, None, None)
        } else if env::var_os(HOST).is_some() && Path::new(TOKEN).exists() {
            let config = Config::incluster()?;
            let home = config.default_namespace.clone();
            let token = tokio::fs::read_to_string(TOKEN).await;
            (config, Some(home), token.ok().as_deref().and_then(subject))
        } else {
            let read = Kubeconfig::from_env().map_err(ConnectError::Environment)?;
            let read = read.ok_or(ConnectError::Nowhere)?;
            let config = outside(read).await.map_err(ConnectError::Environment)?;
            (config, None, None)
        };
        config.connect_timeout = Some(CONNECT);
        config.read_timeout = Some(SILENCE);
        // Each call has its own limit, and its own way to try again.
        config.default_retry = false;
        let default_namespace = config.default_namespace.clone();
        let home = home.unwrap_or_else(|| NAMESPACE.to_owned());
        let named = env::var(NAMESPACE_VARIABLE).ok();
        let named = named.filter(|namespace| !namespace.is_empty());
        Ok(Self {
            client: Client::try_from(config)?,
            namespace: named.unwrap_or_else(|| home.clone()),
            home,
            account,
            default_namespace,
        })
    }

    /// The same for a person.
    pub(super) async fn by_hand(access: &Access) -> Result<Self, ConnectError> {
        let read =
            match &access.kubeconfig {
                Some(path) => Some(Kubeconfig::read_from(path).map_err(|source| {
                    ConnectError::Kubeconfig {
                        path: path.clone(),
                        source,
                    }
                })?),
                None if env::var_os(KUBECONFIG).is_none_or(|value| value.is_empty())
                    && !in_home().is_some_and(|path| path.exists()) =>
                {
                    None
                }
                None => Some(Kubeconfig::read().map_err(ConnectError::Environment)?),
            };
        let mut config = match read {
            Some(read) => {
                let options = KubeConfigOptions {
                    context: access.context.clone(),
                    ..KubeConfigOptions::default()
                };
                let config = Config::from_custom_kubeconfig(read, &options).await;
                config.map_err(ConnectError::Environment)?
            }
            None if env::var_os(HOST).is_some() => Config::incluster()?,
            None => return Err(ConnectError::Nowhere),
        };
        config.connect_timeout = Some(CONNECT_FROM_AFAR);
        config.read_timeout = Some(SILENCE);
        config.default_retry = false;
        let default_namespace = config.default_namespace.clone();
        Ok(Self {
            client: Client::try_from(config)?,
            namespace: access.agents.clone(),
            home: access.agents.clone(),
            account: None,
            default_namespace,
        })
    }
}

fn in_home() -> Option<PathBuf> {
    env::home_dir().map(|home| home.join(".kube/config"))
}

async fn outside(read: Kubeconfig) -> Result<Config, kube::config::KubeconfigError> {
    Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await
}

/// The account that a service account's token is for.
fn subject(token: &str) -> Option<ServiceAccount> {
    #[derive(Deserialize)]
    struct Claims {
        sub: String,
    }
    let claims = token.trim().split('.').nth(1)?;
    let claims = BASE64_URL_SAFE_NO_PAD.decode(claims).ok()?;
    let claims: Claims = serde_json::from_slice(&claims).ok()?;
    let account = claims.sub.strip_prefix("system:serviceaccount:")?;
    let (namespace, name) = account.split_once(':')?;
    ServiceAccount::new(namespace, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mounted_token_tells_whose_it_is() {
        let token = |claims: &str| format!("e30.{}.c2ln\n", BASE64_URL_SAFE_NO_PAD.encode(claims));
        let ours = token(r#"{"sub":"system:serviceaccount:backup:velero-server","exp":1}"#);
        let expected = ServiceAccount::new("backup", "velero-server");
        assert_eq!(subject(&ours), expected);
        for other in [
            token(r#"{"sub":"alice"}"#),
            token("{}"),
            "opaque".to_owned(),
        ] {
            assert_eq!(subject(&other), None, "{other}");
        }
    }
}
