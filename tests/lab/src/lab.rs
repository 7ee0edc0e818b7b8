//! A running lab: started, asked, changed, and gone when dropped.

use std::{
    collections::BTreeMap,
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Serialize;

use self::run::Running;
use crate::{
    Credential, Identity, ResourceId, Settings, shared::Shared, store::Store, web::tls,
    world::World,
};

pub use self::{new_disk::NewDisk, storage_accounts::NewStorageAccount};

mod locks;
mod manage;
mod new_disk;
mod run;
mod storage_accounts;

/// Why a lab does not start, or does not do what it is told.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// The pool cannot be made or mounted.
    #[error("cannot make the pool of disks in {directory}: {reason}")]
    Pool {
        /// The lab's directory.
        directory: PathBuf,
        /// What mkfs or mount said.
        reason: String,
    },
    /// An address cannot be had.
    #[error("cannot listen on {address} for {door}")]
    Listen {
        /// As in the settings.
        address: SocketAddr,
        /// Which setting.
        door: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// A file of the lab's own.
    #[error("cannot use the lab's directory or threads")]
    Io(#[from] io::Error),
    /// Certificates.
    #[error("cannot make the lab's certificates: {0}")]
    Certificates(String),
    /// It ended while it started.
    #[error("the lab's thread ended: {0}")]
    Thread(String),
    /// Azure's rules forbid it.
    #[error("{code}: {message}")]
    Refused {
        /// Azure's error code.
        code: &'static str,
        /// Azure's message.
        message: String,
    },
    /// It does not exist.
    #[error("there is no {0}")]
    Missing(String),
    /// The settings, or a change of them.
    #[error("settings: {0}")]
    Settings(String),
}

/// Where a lab is reached and what it starts with; what `serve` prints.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoints {
    /// ARM and Entra, `https://127.0.0.1:PORT`.
    pub endpoint: String,
    /// Instance metadata, `http://127.0.0.1:PORT`.
    pub imds: String,
    /// The control API, `http://127.0.0.1:PORT/lab`.
    pub control: String,
    /// The lab's directory.
    pub directory: PathBuf,
    /// The lab's CA, PEM.
    pub ca_file: PathBuf,
    /// The first identity's credentials as the stock plugin reads them.
    pub credentials_file: PathBuf,
    /// The first tenant.
    pub tenant: String,
    /// The first subscription.
    pub subscription: String,
    /// Its resource group, in westeurope.
    pub resource_group: String,
}

/// A simulated Azure with one tenant, subscription, resource group and identity to begin with.
#[must_use = "dropping the lab ends it"]
#[derive(Debug)]
pub struct Lab {
    endpoints: Endpoints,
    ca: String,
    identity: Identity,
    // Dropped in this order: the threads end, the store unmounts its pool, its image goes.
    _running: Running,
    shared: Arc<Shared>,
    _temporary: Option<tempfile::TempDir>,
}

/// The resource group that a lab begins with.
const GROUP: &str = "Stillpoint-Lab";

impl Lab {
    /// Starts a lab; needs root, loop devices and xfsprogs ([`stillpoint_loopfs::missing`] says).
    pub async fn start(settings: Settings) -> Result<Self, LabError> {
        let started = tokio::task::spawn_blocking(|| Self::start_blocking(settings)).await;
        started.unwrap_or_else(|error| Err(LabError::Thread(error.to_string())))
    }

    /// [`Lab::start`] outside a runtime.
    pub fn start_blocking(mut settings: Settings) -> Result<Self, LabError> {
        let temporary = match &settings.directory {
            Some(_) => None,
            None => Some(
                tempfile::Builder::new()
                    .prefix("stillpoint-lab-")
                    .tempdir()?,
            ),
        };
        let chosen = temporary
            .as_ref()
            .map(|temporary| temporary.path().to_owned());
        let directory = chosen.or(settings.directory.take()).unwrap_or_default();
        fs::create_dir_all(&directory)?;
        let directory = directory.canonicalize()?;
        settings.directory = Some(directory.clone());
        let (ca, tls) = tls::server(settings.listen.ip())
            .map_err(|error| LabError::Certificates(format!("{error:#}")))?;
        let store = Store::create(&directory, settings.pool).map_err(|error| LabError::Pool {
            directory: directory.clone(),
            reason: format!("{error:#}"),
        })?;

        let tenant = uuid::Uuid::new_v4().to_string();
        let subscription = uuid::Uuid::new_v4().to_string();
        let secret = Credential::Secret(format!("lab~{}", uuid::Uuid::new_v4().simple()));
        let identity = Identity::new(&tenant, vec![secret]);
        let mut world = World::new(settings);
        world.add_subscription(&subscription, &tenant);
        world.identities.push(identity.clone());

        let (running, shared, [cloud, imds, control]) =
            Running::start(world, store, Arc::new(tls))?;
        let (ca_file, credentials_file) = (directory.join("ca.pem"), directory.join("credentials"));
        let lab = Self {
            endpoints: Endpoints {
                endpoint: format!("https://{cloud}"),
                imds: format!("http://{imds}"),
                control: format!("http://{control}/lab"),
                directory,
                ca_file,
                credentials_file,
                tenant,
                subscription: subscription.clone(),
                resource_group: GROUP.into(),
            },
            ca,
            identity,
            _running: running,
            shared,
            _temporary: temporary,
        };
        lab.add_resource_group(&subscription, GROUP, "westeurope")?;
        let own = [
            lab.endpoints.endpoint.clone(),
            format!("https://localhost:{}", cloud.port()),
        ];
        lab.shared().world().audiences.extend(own);
        fs::write(&lab.endpoints.ca_file, &lab.ca)?;
        fs::write(&lab.endpoints.credentials_file, lab.credentials_file())?;
        Ok(lab)
    }

    /// Ends the lab and unmounts its pool; as dropping it does, but without blocking the runtime.
    pub async fn stop(self) {
        let _ = tokio::task::spawn_blocking(|| drop(self)).await;
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Addresses and first IDs.
    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// `https://127.0.0.1:PORT`: Resource Manager's endpoint and Entra's authority.
    pub fn endpoint(&self) -> &str {
        &self.endpoints.endpoint
    }

    /// The lab's CA in PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca
    }

    /// The identity it began with, by a client secret.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The lab's directory.
    pub fn directory(&self) -> &Path {
        &self.endpoints.directory
    }

    /// The first identity's credentials, in the stock plugin's format.
    pub fn credentials_file(&self) -> String {
        let Endpoints {
            tenant,
            subscription,
            resource_group,
            ..
        } = &self.endpoints;
        let client = &self.identity.client_id;
        let secret = self
            .identity
            .credentials
            .iter()
            .find_map(|credential| match credential {
                Credential::Secret(secret) => Some(secret.as_str()),
                Credential::Certificate { .. }
                | Credential::Issued { .. }
                | Credential::Federated { .. }
                | Credential::Managed { .. } => None,
            });
        format!(
            "AZURE_SUBSCRIPTION_ID={subscription}\nAZURE_TENANT_ID={tenant}\nAZURE_CLIENT_ID={client}\n\
             AZURE_CLIENT_SECRET={}\nAZURE_RESOURCE_GROUP={resource_group}\nAZURE_CLOUD_NAME=AzurePublicCloud\n",
            secret.unwrap_or_default()
        )
    }

    /// A VolumeSnapshotLocation's config that leads here.
    pub fn location_config(&self) -> BTreeMap<String, String> {
        let Endpoints {
            endpoint,
            subscription,
            resource_group,
            credentials_file,
            ..
        } = &self.endpoints;
        [
            ("resourceGroup", resource_group.clone()),
            ("subscriptionId", subscription.clone()),
            ("resourceManagerEndpoint", endpoint.clone()),
            ("activeDirectoryAuthorityURI", endpoint.clone()),
            ("caCert", self.ca.clone()),
            ("credentialsFile", credentials_file.display().to_string()),
        ]
        .map(|(key, value)| (key.into(), value))
        .into()
    }

    /// The ID of a disk of that name in the first resource group.
    pub fn disk_id(&self, name: &str) -> ResourceId {
        ResourceId::new(&self.endpoints.subscription, GROUP, crate::Kind::Disk, name)
    }

    /// The ID of a snapshot of that name in the first resource group.
    pub fn snapshot_id(&self, name: &str) -> ResourceId {
        ResourceId::new(
            &self.endpoints.subscription,
            GROUP,
            crate::Kind::Snapshot,
            name,
        )
    }

    /// The ID of a storage account of that name in the first resource group.
    pub fn storage_account_id(&self, name: &str) -> ResourceId {
        ResourceId::new(
            &self.endpoints.subscription,
            GROUP,
            crate::Kind::StorageAccount,
            name,
        )
    }
}
