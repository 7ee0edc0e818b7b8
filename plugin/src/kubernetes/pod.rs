//! The pods that use a PVC.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex as SyncMutex, PoisonError},
    time::Duration,
};

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, api::ListParams};
use tokio::{sync::Mutex, time::Instant};

use super::{patiently, volume::Claim, wish::ANNOTATION};

const PAGE: u32 = 500;
/// Volumes of a namespace are backed up one after another: its pods are not asked for each time.
const REMEMBERED: Duration = Duration::from_secs(5);
const ALIVE: &str = "status.phase!=Succeeded,status.phase!=Failed";

/// What is kept of a pod.
#[derive(Clone, Debug)]
pub(super) struct PodUse {
    /// By name, of its namespace.
    pub(super) claims: Vec<String>,
    pub(super) node: Option<String>,
    /// What its annotation asks for.
    pub(super) wish: Option<String>,
}

type Known = Arc<Mutex<Option<(Instant, Arc<[PodUse]>)>>>;

/// The pods of all namespaces.
pub(super) struct Pods {
    client: Client,
    known: SyncMutex<HashMap<String, Known>>,
}

impl Pods {
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            known: SyncMutex::default(),
        }
    }

    /// Those that use the claim and have not ended.
    pub(super) async fn of(&self, claim: &Claim) -> Result<Vec<PodUse>, String> {
        let known = {
            let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(all.entry(claim.namespace.clone()).or_default())
        };
        let mut known = known.lock().await;
        let recent = known.as_ref().filter(|(at, _)| at.elapsed() < REMEMBERED);
        let pods = match recent {
            Some((_, pods)) => Arc::clone(pods),
            None => {
                let pods: Arc<[PodUse]> = patiently(self.list(&claim.namespace)).await?.into();
                *known = Some((Instant::now(), Arc::clone(&pods)));
                pods
            }
        };
        let uses = |pod: &&PodUse| pod.claims.contains(&claim.name);
        Ok(pods.iter().filter(uses).cloned().collect())
    }

    async fn list(&self, namespace: &str) -> kube::Result<Vec<PodUse>> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let mut params = ListParams::default().fields(ALIVE).limit(PAGE);
        let mut pods = Vec::new();
        loop {
            let page = api.list(&params).await?;
            pods.extend(page.items.iter().filter_map(PodUse::of));
            match page.metadata.continue_.filter(|more| !more.is_empty()) {
                Some(more) => params = params.continue_token(&more),
                None => return Ok(pods),
            }
        }
    }
}

impl PodUse {
    /// `None` if it uses no claims.
    fn of(pod: &Pod) -> Option<Self> {
        let spec = pod.spec.as_ref()?;
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let volumes = spec.volumes.iter().flatten();
        let claims: Vec<_> = volumes
            .filter_map(|volume| {
                let claim = volume.persistent_volume_claim.as_ref();
                let named = claim.map(|claim| claim.claim_name.clone());
                // Kubernetes names the claims that it makes for pods so.
                let made = || Some(format!("{name}-{}", volume.name));
                named.or_else(|| volume.ephemeral.as_ref().and_then(|_| made()))
            })
            .collect();
        let annotations = pod.metadata.annotations.as_ref();
        (!claims.is_empty()).then(|| Self {
            claims,
            node: spec.node_name.clone(),
            wish: annotations.and_then(|all| all.get(ANNOTATION)).cloned(),
        })
    }
}
