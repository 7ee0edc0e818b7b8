//! What the commands share: the cluster, Azure, and the snapshots in it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::sync::OnceCell;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Failure, cli::Global, found::Found};
use crate::{
    agent::NodeAgents,
    azure,
    config::Settings,
    kubernetes::{Access, ByHand, Kubernetes, PortForwards, Scope, View},
    model::{ResourceGroup, SnapshotId},
    ports::{Azure, Catalogue as _},
};

/// For Events that are still being written.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// See the module.
pub(super) struct Context {
    pub(super) global: Global,
    pub(super) kubernetes: Arc<Kubernetes>,
    afterwards: TaskTracker,
    azure: OnceCell<azure::Client>,
    /// Somebody interrupts us.
    pub(super) cancel: CancellationToken,
}

impl Context {
    pub(super) fn new(global: Global, cancel: CancellationToken) -> Self {
        let access = Access {
            kubeconfig: global.kubeconfig.clone(),
            context: global.context.clone(),
            agents: global.agent_namespace.clone(),
        };
        let afterwards = TaskTracker::new();
        Self {
            kubernetes: Arc::new(Kubernetes::of_person(access, afterwards.clone())),
            global,
            afterwards,
            azure: OnceCell::new(),
            cancel,
        }
    }

    pub(super) async fn by_hand(&self) -> Result<ByHand, Failure> {
        let by_hand = self.kubernetes.by_hand().await;
        by_hand.map_err(Failure::Kubernetes)
    }

    /// The cluster as agents are found in it.
    pub(super) fn view(&self) -> Arc<View> {
        self.kubernetes
            .view(Some(self.global.agent_service_account.clone()))
    }

    /// The agents, through the API server.
    pub(super) fn agents(&self, view: &Arc<View>) -> NodeAgents {
        let forwards = PortForwards::new(Arc::clone(&self.kubernetes));
        NodeAgents::through(view.clone(), Arc::new(forwards))
    }

    /// Azure; the first call logs in.
    pub(super) async fn azure(&self) -> Result<&azure::Client, Failure> {
        let connect = async || {
            azure::connect_by_hand(&azure::Settings {
                credentials_file: self.global.credentials_file.clone(),
                active_directory_authority: self.global.active_directory_authority.clone(),
                resource_manager_endpoint: self.global.resource_manager_endpoint.clone(),
                ..azure::Settings::default()
            })
        };
        Ok(self.azure.get_or_try_init(connect).await?)
    }

    /// The namespace that was said, else the kubeconfig's.
    pub(super) async fn namespace(&self) -> Result<String, Failure> {
        match &self.global.namespace {
            Some(namespace) => Ok(namespace.clone()),
            None => Ok(self.by_hand().await?.default_namespace().to_owned()),
        }
    }

    pub(super) async fn scope(&self, all: bool) -> Result<Scope, Failure> {
        Ok(if all {
            Scope::All
        } else {
            Scope::Namespace(self.namespace().await?)
        })
    }

    /// The subscription that was said, else that of the credentials, else that of the cluster's nodes.
    pub(super) async fn subscription(&self) -> Result<String, Failure> {
        if let Some(subscription) = &self.global.subscription {
            return Ok(subscription.clone());
        }
        if let Some(subscription) = &self.azure().await?.environment().subscription {
            return Ok(subscription.clone());
        }
        let unknown = |why: &str| {
            Failure::Usage(format!(
                "which subscription has the snapshots? Say --subscription, or set AZURE_SUBSCRIPTION_ID; {why}"
            ))
        };
        let by_hand = self.by_hand().await;
        let by_hand = by_hand.map_err(|error| unknown(&error.to_string()))?;
        let group = by_hand.node_group().await;
        let group = group.map_err(|reason| unknown(&reason))?;
        let group = group.ok_or_else(|| unknown("this cluster's nodes do not tell theirs"))?;
        Ok(group.subscription)
    }

    /// The snapshots of a resource group, or of the whole subscription.
    pub(super) async fn snapshots(&self, group: Option<&str>) -> Result<Vec<Found>, Failure> {
        let subscription = self.subscription().await?;
        let azure = self.azure().await?;
        let snapshots = match group {
            Some(name) => {
                let group = ResourceGroup {
                    subscription,
                    name: name.to_owned(),
                };
                azure.snapshots(&group).await?
            }
            None => azure.all_snapshots(&subscription).await?,
        };
        Ok(snapshots.into_iter().map(Found::new).collect())
    }

    /// The snapshot of that ID, or of that name in a resource group or the whole subscription.
    pub(super) async fn snapshot(&self, text: &str, group: Option<&str>) -> Result<Found, Failure> {
        if text.starts_with('/') {
            let id: SnapshotId = text
                .parse()
                .map_err(|error| Failure::Usage(format!("snapshot {error}")))?;
            return Ok(Found::new(self.azure().await?.snapshot(&id).await?));
        }
        let mut found = self.snapshots(group).await?;
        found.retain(|one| one.snapshot.id.name.eq_ignore_ascii_case(text));
        match (found.len(), found.pop()) {
            (1, Some(one)) => Ok(one),
            (0, _) | (_, None) => Err(Failure::Usage(format!(
                "there is no snapshot `{text}` in {}: kubectl stillpoint snapshots -A lists what there is",
                group.map_or("the subscription".to_owned(), |group| format!(
                    "resource group {group}"
                ))
            ))),
            (several, Some(_)) => Err(Failure::Usage(format!(
                "{several} resource groups have a snapshot `{text}`: say which with --snapshot-resource-group, or give \
                 its whole ID"
            ))),
        }
    }

    /// The settings of a location that says nothing.
    pub(super) fn settings(&self) -> Result<Settings, Failure> {
        Ok(Settings::parse(&HashMap::new())?)
    }

    /// What is left to do ends, or is left.
    pub(super) async fn close(self) {
        self.afterwards.close();
        let _ = tokio::time::timeout(LAST_WORDS, self.afterwards.wait()).await;
    }
}
