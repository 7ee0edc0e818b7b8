//! Claims, each with its volume.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::{Api, ResourceExt as _, api::ListParams};

use super::{ByHand, answer};
use crate::{model::DiskId, pv, tags::Home};

/// Where claims are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// In one namespace.
    Namespace(String),
    /// In all of them.
    All,
}

impl Scope {
    fn namespace(&self) -> &str {
        match self {
            Self::Namespace(namespace) => namespace,
            Self::All => "",
        }
    }
}

/// A claim.
#[derive(Clone, Debug)]
pub struct Claim {
    /// What is to be known of it without its cluster.
    pub home: Home,
    /// Its disk, or why it has none.
    pub disk: Result<DiskId, String>,
}

impl ByHand {
    /// The claims of those names, all that match the selector, or all.
    ///
    /// # Errors
    /// The reason, for a person.
    pub async fn claims(
        &self,
        scope: &Scope,
        names: &[String],
        selector: Option<&str>,
    ) -> Result<Vec<Claim>, String> {
        let api: Api<PersistentVolumeClaim> = match scope {
            Scope::Namespace(namespace) => Api::namespaced(self.client.clone(), namespace),
            Scope::All => Api::all(self.client.clone()),
        };
        let cluster = self.identity().await;
        let mut claims = Vec::new();
        if names.is_empty() {
            let params = ListParams {
                label_selector: selector.map(str::to_owned),
                ..ListParams::default()
            };
            let volumes: Api<PersistentVolume> = Api::all(self.client.clone());
            let all = ListParams::default();
            let (listed, volumes) = tokio::join!(
                answer("PersistentVolumeClaims", api.list(&params)),
                answer("PersistentVolumes", volumes.list(&all)),
            );
            let volumes = volumes?.items.into_iter();
            let mut volumes: HashMap<_, _> = volumes.map(|one| (one.name_any(), one)).collect();
            for claim in listed? {
                let volume = volume_of(&claim).map(|name| {
                    let known = volumes.remove(name);
                    known.ok_or_else(|| format!("PersistentVolume {name} is not there"))
                });
                claims.push(described(claim, volume, cluster.clone()));
            }
        }
        for name in names {
            let what = format!("PersistentVolumeClaim {name}");
            claims.push(match answer(&what, api.get(name)).await {
                Ok(claim) => self.claim(claim, cluster.clone()).await,
                Err(reason) => Claim {
                    home: Home {
                        namespace: scope.namespace().to_owned(),
                        claim: name.clone(),
                        ..Home::default()
                    },
                    disk: Err(reason),
                },
            });
        }
        Ok(claims)
    }

    /// The names of the claims of a scope, with their namespaces.
    ///
    /// # Errors
    /// The reason, for a person.
    pub async fn claim_names(&self, scope: &Scope) -> Result<Vec<(String, String)>, String> {
        let api: Api<PersistentVolumeClaim> = match scope {
            Scope::Namespace(namespace) => Api::namespaced(self.client.clone(), namespace),
            Scope::All => Api::all(self.client.clone()),
        };
        let all = ListParams::default();
        let asked = api.list_metadata(&all);
        let listed = answer("PersistentVolumeClaims", asked).await?;
        let name = |claim: &kube::core::PartialObjectMeta<_>| {
            (claim.namespace().unwrap_or_default(), claim.name_any())
        };
        Ok(listed.items.iter().map(name).collect())
    }

    async fn claim(&self, claim: PersistentVolumeClaim, cluster: Option<String>) -> Claim {
        let volume = match volume_of(&claim) {
            Some(name) => {
                let volumes: Api<PersistentVolume> = Api::all(self.client.clone());
                let what = format!("PersistentVolume {name}");
                Some(answer(&what, volumes.get(name)).await)
            }
            None => None,
        };
        described(claim, volume, cluster)
    }
}

/// The name of the volume that a claim has, or asks for.
fn volume_of(claim: &PersistentVolumeClaim) -> Option<&str> {
    let name = claim.spec.as_ref()?.volume_name.as_deref();
    name.filter(|name| !name.is_empty())
}

fn described(
    claim: PersistentVolumeClaim,
    volume: Option<Result<PersistentVolume, String>>,
    cluster: Option<String>,
) -> Claim {
    let (namespace, name) = (claim.namespace().unwrap_or_default(), claim.name_any());
    let spec = claim.spec.unwrap_or_default();
    let mut home = Home {
        cluster,
        namespace,
        claim: name,
        labels: claim.metadata.labels.unwrap_or_default(),
        storage_class: spec.storage_class_name.unwrap_or_default(),
        ..Home::default()
    };
    let disk = match volume {
        Some(Ok(volume)) if is_bound(&volume, &home) => {
            let disk = disk(&volume);
            describe(&mut home, volume);
            disk
        }
        Some(Ok(volume)) => Err(format!(
            "PersistentVolume {} is not bound to it",
            volume.name_any()
        )),
        Some(Err(reason)) => Err(reason),
        None => {
            let phase = claim.status.and_then(|status| status.phase);
            let phase = phase.unwrap_or_else(|| "unbound".to_owned());
            Err(format!("it is {phase}: it has no volume yet"))
        }
    };
    Claim { home, disk }
}

/// A claim may ask for a volume that is another's.
fn is_bound(volume: &PersistentVolume, home: &Home) -> bool {
    let reference = volume.spec.as_ref();
    let reference = reference.and_then(|spec| spec.claim_ref.as_ref());
    reference.is_some_and(|reference| {
        reference.namespace.as_deref() == Some(&home.namespace)
            && reference.name.as_deref() == Some(&home.claim)
    })
}

fn disk(volume: &PersistentVolume) -> Result<DiskId, String> {
    let value = serde_json::to_value(volume).map_err(|error| error.to_string())?;
    match pv::volume_id(&value) {
        Ok(Some(id)) => id
            .parse()
            .map_err(|error: crate::model::InvalidId| error.to_string()),
        Ok(None) => Err(format!(
            "PersistentVolume {} is no managed disk of Azure (expected the driver {} or azureDisk)",
            volume.name_any(),
            pv::DRIVER
        )),
        Err(error) => Err(error.to_string()),
    }
}

fn describe(home: &mut Home, volume: PersistentVolume) {
    let value = serde_json::to_value(&volume).unwrap_or_default();
    home.volume = volume.name_any();
    home.zone = pv::zone(&value);
    let spec = volume.spec.unwrap_or_default();
    home.storage_class = spec.storage_class_name.unwrap_or_default();
    let capacity = spec.capacity.and_then(|mut all| all.remove("storage"));
    home.capacity = capacity.map(|quantity| quantity.0).unwrap_or_default();
    home.access_modes = spec.access_modes.unwrap_or_default();
    home.block = spec.volume_mode.as_deref() == Some("Block");
    let csi = spec.csi.and_then(|csi| csi.fs_type);
    home.filesystem = csi.or(spec.azure_disk.and_then(|disk| disk.fs_type));
}
