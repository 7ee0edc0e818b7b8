//! Objects that a person has written.

use std::{fmt, str::FromStr, time::Duration};

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::{
    Api,
    api::{ApiResource, DynamicObject, PostParams},
    core::GroupVersionKind,
};
use serde_json::Value;
use thiserror::Error;
use tokio::time::{Instant, sleep};

use super::{ByHand, answer};

const POLL: Duration = Duration::from_millis(250);
/// As kubectl names who wrote a field.
const MANAGER: &str = "kubectl-stillpoint";

/// Why an object is not there as it was to be.
#[derive(Debug, Error)]
pub enum WriteError {
    /// It was not written.
    #[error("{0}")]
    Refused(String),
    /// It is there, but the claim is not bound.
    #[error("{claim} was made, but is {phase} after {after:?}: kubectl describe pvc {name} tells why", name = claim.rsplit('/').next().unwrap_or_default())]
    NotBound {
        /// `NAMESPACE/NAME`.
        claim: String,
        /// What it is instead.
        phase: String,
        /// How long it was waited for.
        after: Duration,
    },
}

/// Something that makes pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    kind: Kind,
    /// Its name.
    pub name: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Deployment,
    StatefulSet,
    DaemonSet,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
        }
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.name().to_ascii_lowercase(), self.name)
    }
}

impl FromStr for Workload {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected =
            || format!("`{text}`: expected deployment/NAME, statefulset/NAME or daemonset/NAME");
        let (kind, name) = text.split_once('/').ok_or_else(expected)?;
        let kind = match kind {
            "deployment" | "deployments" | "deploy" => Kind::Deployment,
            "statefulset" | "statefulsets" | "sts" => Kind::StatefulSet,
            "daemonset" | "daemonsets" | "ds" => Kind::DaemonSet,
            _ => return Err(expected()),
        };
        if name.is_empty() {
            return Err(expected());
        }
        Ok(Self {
            kind,
            name: name.to_owned(),
        })
    }
}

impl ByHand {
    /// Makes a PersistentVolume and the claim for it. `dry`: has the API server check them only.
    ///
    /// # Errors
    /// The API server refuses one. The volume that it took before it refused the claim stays.
    pub async fn create(&self, volume: &Value, claim: &Value, dry: bool) -> Result<(), WriteError> {
        let params = PostParams {
            dry_run: dry,
            field_manager: Some(MANAGER.to_owned()),
        };
        let wrong = |error: serde_json::Error| WriteError::Refused(error.to_string());
        let volume: PersistentVolume = serde_json::from_value(volume.clone()).map_err(wrong)?;
        let claim: PersistentVolumeClaim = serde_json::from_value(claim.clone()).map_err(wrong)?;
        let name = volume.metadata.name.clone().unwrap_or_default();
        let volumes: Api<PersistentVolume> = Api::all(self.client.clone());
        let what = format!("PersistentVolume {name}");
        let made = answer(&what, volumes.create(&params, &volume)).await;
        made.map_err(WriteError::Refused)?;
        let namespace = claim.metadata.namespace.clone().unwrap_or_default();
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), &namespace);
        let claim_name = claim.metadata.name.as_deref().unwrap_or_default();
        let what = format!("PersistentVolumeClaim {namespace}/{claim_name}");
        let made = answer(&what, claims.create(&params, &claim)).await;
        made.map(drop).map_err(|reason| {
            let stays = if dry {
                String::new()
            } else {
                format!("; PersistentVolume {name} was made before and stays")
            };
            WriteError::Refused(reason + &stays)
        })
    }

    /// Waits until a claim is bound.
    ///
    /// # Errors
    /// It is not, within that time.
    pub async fn until_bound(
        &self,
        namespace: &str,
        name: &str,
        within: Duration,
    ) -> Result<(), WriteError> {
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), namespace);
        let deadline = Instant::now() + within;
        loop {
            let claim = answer("the claim", claims.get(name)).await;
            let phase = match claim {
                Ok(claim) => claim.status.and_then(|status| status.phase),
                Err(reason) => Some(reason),
            };
            let phase = phase.unwrap_or_else(|| "Pending".to_owned());
            if phase == "Bound" {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(WriteError::NotBound {
                    claim: format!("{namespace}/{name}"),
                    phase,
                    after: within,
                });
            }
            sleep(POLL).await;
        }
    }

    /// A workload as it is.
    ///
    /// # Errors
    /// The reason, for a person.
    pub async fn workload(&self, namespace: &str, workload: &Workload) -> Result<Value, String> {
        let api = self.workloads(namespace, workload);
        let found = answer(&workload.to_string(), api.get(&workload.name)).await?;
        serde_json::to_value(found).map_err(|error| error.to_string())
    }

    /// Writes a workload that was read, changed; refused if somebody else changed it meanwhile.
    ///
    /// # Errors
    /// The API server refuses it.
    pub async fn replace(
        &self,
        namespace: &str,
        workload: &Workload,
        changed: &Value,
        dry: bool,
    ) -> Result<(), WriteError> {
        let params = PostParams {
            dry_run: dry,
            field_manager: Some(MANAGER.to_owned()),
        };
        let changed: DynamicObject = serde_json::from_value(changed.clone())
            .map_err(|error| WriteError::Refused(error.to_string()))?;
        let api = self.workloads(namespace, workload);
        let replaced = api.replace(&workload.name, &params, &changed);
        let replaced = answer(&workload.to_string(), replaced).await;
        replaced.map(drop).map_err(WriteError::Refused)
    }

    fn workloads(&self, namespace: &str, workload: &Workload) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk("apps", "v1", workload.kind.name());
        let resource = ApiResource::from_gvk(&kind);
        Api::namespaced_with(self.client.clone(), namespace, &resource)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workloads_are_named_as_kubectl_names_them() {
        for (text, expected) in [
            ("deployment/web", Some("deployment/web")),
            ("sts/db", Some("statefulset/db")),
            ("ds/log", Some("daemonset/log")),
            ("web", None),
            ("job/web", None),
            ("deployment/", None),
        ] {
            let read = text.parse::<Workload>().ok().map(|one| one.to_string());
            assert_eq!(read.as_deref(), expected, "{text}");
        }
    }
}
