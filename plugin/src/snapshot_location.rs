//! A VolumeSnapshotLocation with all that it needs: its config, its Azure, its agents, and the use cases on them.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::{
    agent::{NodeAgents, UnixAgent},
    azure::{self, ConnectError},
    config::{self, AgentChoice, ConfigError, Settings},
    kubernetes::{Kubernetes, View},
    model::ResourceGroup,
    ports::{Azure, Backups, Holder, Owners},
    pv::{self, PvError},
    restore::{self, Memory, RestoreError, Restores, SetVolumeError},
    snapshot::{Process, SnapshotError, Snapshots, Volume},
    velero::{Config, CreateSnapshot, CreateVolume, Location, Open, VolumeInfo},
};

/// Opens the locations of one process; what they can share they do.
pub struct AzureLocations {
    process: Arc<Process>,
    memory: Arc<Memory>,
    kubernetes: Arc<Kubernetes>,
    nodes: Mutex<Vec<(AgentChoice, Node)>>,
}

/// What freezes for a location, and who else is asked and told.
type Node = (Arc<dyn Holder>, Option<Arc<View>>);

/// An open location.
pub struct AzureLocation {
    snapshots: Snapshots,
    restores: Restores,
}

/// Why a location cannot be used, or a call on it failed.
#[derive(Debug, thiserror::Error)]
pub enum LocationError {
    /// Its config.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Its credentials.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Disks are named, and restored, in a resource group that nobody told.
    #[error(
        "the cluster's resource group is not known: set AZURE_RESOURCE_GROUP (and AZURE_SUBSCRIPTION_ID) in the \
         credentials file or the environment, or `targetResourceGroup` and `targetSubscriptionId` in the location"
    )]
    NoCluster,
    /// A snapshot.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// A restored disk.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// A PV.
    #[error(transparent)]
    Pv(#[from] PvError),
}

impl From<SetVolumeError> for LocationError {
    fn from(error: SetVolumeError) -> Self {
        match error {
            SetVolumeError::Disk(error) => Self::Restore(error),
            SetVolumeError::Pv(error) => Self::Pv(error),
        }
    }
}

impl AzureLocations {
    /// For a process in that cluster, which is not asked before the first location needs it.
    pub fn new(kubernetes: Kubernetes) -> Self {
        Self {
            process: Arc::default(),
            memory: Arc::default(),
            kubernetes: Arc::new(kubernetes),
            nodes: Mutex::default(),
        }
    }

    /// One for each choice, so that its connections are there before the first freeze.
    fn node(&self, choice: &AgentChoice) -> Node {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, known)) = nodes.iter().find(|(known, _)| known == choice) {
            return known.clone();
        }
        let node: Node = match choice {
            AgentChoice::Auto { account } => {
                let view = self.kubernetes.view(account.clone());
                (Arc::new(NodeAgents::new(view.clone())), Some(view))
            }
            AgentChoice::Unix(path) => (Arc::new(UnixAgent::new(path)), None),
        };
        nodes.push((choice.clone(), node.clone()));
        node
    }
}

impl Open for AzureLocations {
    type Opened = AzureLocation;
    type Error = LocationError;

    async fn open(
        &self,
        config: Config,
        _: CancellationToken,
    ) -> Result<AzureLocation, LocationError> {
        let settings = Settings::parse(&config.into_iter().collect())?;
        let client = azure::connect(&azure::Settings {
            credentials_file: settings.credentials_file.clone(),
            subscription: settings.subscription.clone(),
            resource_group: settings.resource_group.clone(),
            active_directory_authority: settings.authority.clone(),
            resource_manager_endpoint: settings.resource_manager.clone(),
            ca_cert: settings.ca_cert.clone(),
            api_timeout: settings.api_timeout,
        })?;
        let cluster = client
            .environment()
            .cluster
            .clone()
            .or_else(|| target(&settings));
        let cluster = cluster.ok_or(LocationError::NoCluster)?;
        let (holder, cluster_view) = self.node(&settings.agent);
        let location = Arc::new(config::Location::new(settings, cluster));
        let azure: Arc<dyn Azure> = Arc::new(client);
        let snapshots = Snapshots::new(
            location.clone(),
            azure.clone(),
            holder,
            cluster_view.clone().map(|view| view as Arc<dyn Owners>),
            cluster_view.map(|view| view as Arc<dyn Backups>),
            self.process.clone(),
        );
        snapshots.sweep_in_background();
        let restores = Restores::new(location, azure, self.memory.clone());
        Ok(AzureLocation {
            snapshots,
            restores,
        })
    }
}

fn target(settings: &Settings) -> Option<ResourceGroup> {
    let subscription = settings.target_subscription.clone()?;
    let name = settings.target_resource_group.clone()?;
    Some(ResourceGroup { subscription, name })
}

impl Location for AzureLocation {
    type Error = LocationError;

    async fn volume_info(
        &self,
        volume: String,
        _zone: Option<String>,
        _: CancellationToken,
    ) -> Result<VolumeInfo, LocationError> {
        let info = self.snapshots.volume_info(&volume).await?;
        Ok(VolumeInfo {
            volume_type: info.sku.to_string(),
            iops: info.iops,
        })
    }

    async fn create_snapshot(
        &self,
        request: CreateSnapshot,
        cancel: CancellationToken,
    ) -> Result<String, LocationError> {
        let volume = Volume {
            id: request.volume,
            tags: request.tags,
            home: None,
        };
        let mode = self.snapshots.freeze_mode(&volume.id).await;
        let taken = self.snapshots.take(volume, mode, &cancel).await?;
        Ok(taken.snapshot.to_string())
    }

    async fn delete_snapshot(
        &self,
        snapshot: String,
        _: CancellationToken,
    ) -> Result<(), LocationError> {
        Ok(self.snapshots.delete(&snapshot).await?)
    }

    async fn create_volume(
        &self,
        request: CreateVolume,
        cancel: CancellationToken,
    ) -> Result<String, LocationError> {
        let request = restore::Request {
            snapshot: request.snapshot,
            volume_type: request.volume_type,
            zone: request.zone.unwrap_or_default(),
            iops: request.iops,
            ..restore::Request::default()
        };
        Ok(self.restores.restore(&request, &cancel).await?.to_string())
    }

    async fn volume_id(
        &self,
        persistent_volume: Value,
        _: CancellationToken,
    ) -> Result<Option<String>, LocationError> {
        Ok(pv::volume_id(&persistent_volume)?)
    }

    async fn set_volume_id(
        &self,
        persistent_volume: Value,
        volume: String,
        _: CancellationToken,
    ) -> Result<Value, LocationError> {
        Ok(self.restores.set_volume(persistent_volume, &volume).await?)
    }
}
