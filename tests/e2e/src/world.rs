//! All of it, started together and gone together.

use std::{
    collections::BTreeMap,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result};
use k8s_openapi::api::{coordination::v1::Lease, core::v1::PersistentVolumeClaim};
use kube::{Api, Client};
use stillpoint_cluster::{Cluster, Parts, Velero, VeleroOptions, until};
use stillpoint_lab::{Lab, Settings};
use stillpoint_system::{
    agent::Agent,
    blob::{Account, Authority, Azurite, Data, Logins},
    kubelet::Kubelet,
};
use tempfile::TempDir;
use tokio::task;

use crate::{
    Cloud, Options, Plugin,
    csi::Snapshots,
    driver::{Driver, Node},
    install::{self, Azure},
};

/// For what follows by itself; the machine may be busy.
pub const SOON: Duration = Duration::from_secs(60);

/// The region's zones; each has a node `node-N`.
pub const ZONES: [&str; 3] = ["westeurope-1", "westeurope-2", "westeurope-3"];

/// Dropped in this order.
pub struct World {
    /// The server and its command line.
    pub velero: Velero,
    /// With [`Options::snapshots`].
    pub snapshots: Option<Snapshots>,
    /// Stands in for the disks' CSI driver.
    pub driver: Driver,
    agents: BTreeMap<String, Agent>,
    /// Who the plugin is.
    plugin_kubeconfig: PathBuf,
    azurite: Azurite,
    /// Kubernetes.
    pub cluster: Cluster,
    /// Azure.
    pub lab: Arc<Lab>,
    azure: Azure,
    /// Of Velero's environment.
    variables: Vec<(String, String)>,
    directory: TempDir,
}

impl World {
    /// Why none can run here, or `None` if one can. Tests say it and count as skipped.
    pub fn missing() -> Option<String> {
        stillpoint_loopfs::missing().or_else(stillpoint_cluster::missing)
    }

    /// Starts everything.
    pub async fn start(options: Options) -> Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("stillpoint-e2e-")
            .tempdir_in(&options.parent)?;
        // Programs in pods have users of their own.
        fs::set_permissions(directory.path(), Permissions::from_mode(0o711))?;
        let lab = Settings {
            directory: Some(directory.path().join("lab")),
            ..options.lab
        };
        let lab = Arc::new(Lab::start(lab).await?);
        let account = Account::new("backups")?;
        let accounts = std::slice::from_ref(&account);
        let data = Data::Directory(directory.path().join("blobs"));
        let azurite = Azurite::start(&Authority::new()?, accounts, Logins::Keys, data)?;
        azurite
            .client()?
            .create_container(install::CONTAINER)
            .await?;

        let cluster = Cluster::start(Parts::All).await?;
        let plugin_kubeconfig = install::chart(&cluster).await?;
        let (mut agents, mut nodes) = (BTreeMap::new(), BTreeMap::new());
        for (number, zone) in (1..).zip(ZONES) {
            let name = format!("node-{number}");
            install::node(&cluster, &name, zone).await?;
            let kubeconfig = cluster.agent_kubeconfig(&name).await?;
            let home = directory.path().join(&name);
            let kubelet = Kubelet::of(&name, &home.join("kubelet"))?;
            let agent = Agent::start(&kubelet, &agent_home(&directory, &name), Some(&kubeconfig))?;
            agents.insert(name.clone(), agent);
            let zone = zone.into();
            nodes.insert(name, Node { zone, kubelet });
        }
        let driver = Driver::start(cluster.client(), Arc::clone(&lab), nodes);

        let mut flags = options.flags;
        // Velero looks for the kinds of snapshots when it starts.
        let mut snapshots = None;
        if let Some(maker) = &options.snapshots {
            snapshots = Some(Snapshots::start(&cluster, &lab, maker).await?);
            flags.push("--features=EnableCSI".into());
        }
        let azure = Azure {
            lab: Arc::clone(&lab),
            cloud: options.cloud,
        };
        let settings = [options.plugin.settings(), &options.location].concat();
        let programs = plugins(&directory);
        options.plugin.install(&programs, &plugin_kubeconfig)?;
        fs::write(trusted(&directory), install::authorities(&lab, &azurite))?;
        let velero = server(&directory, options.cloud, &flags, &options.variables);
        let velero = cluster.start_velero(velero).await?;
        install::locations(&cluster, &azure, &azurite, &account, &settings).await?;
        let world = Self {
            velero,
            snapshots,
            driver,
            agents,
            plugin_kubeconfig,
            azurite,
            cluster,
            lab,
            azure,
            variables: options.variables,
            directory,
        };
        world.ready().await?;
        Ok(world)
    }

    /// Velero ends, has `plugin` instead of the one it had, and starts with `flags` besides ours. All else stays.
    pub async fn exchange_plugin(&mut self, plugin: &Plugin, flags: &[String]) -> Result<()> {
        self.velero.kill();
        plugin.install(&plugins(&self.directory), &self.plugin_kubeconfig)?;
        let options = server(&self.directory, self.azure.cloud, flags, &self.variables);
        self.velero = self.cluster.start_velero(options).await?;
        Ok(())
    }

    async fn ready(&self) -> Result<()> {
        let leases: Api<Lease> = Api::namespaced(self.client(), "velero");
        for node in self.agents.keys() {
            let name = format!("stillpoint-agent-{node}");
            let what = format!("Lease {name}");
            until(&what, SOON, async || {
                Ok(leases.get_opt(&name).await?.map(drop))
            })
            .await?;
        }
        until("the location is available", SOON, async || {
            let locations = self.velero.cli(&["backup-location", "get"]).await?;
            Ok(locations.contains(" Available ").then_some(()))
        })
        .await
    }

    /// A client with all rights.
    pub fn client(&self) -> Client {
        self.cluster.client()
    }

    pub(crate) fn cloud(&self) -> Cloud {
        self.azure.cloud
    }

    /// A directory for what a test keeps.
    pub fn scratch(&self) -> PathBuf {
        self.directory.path().join("scratch")
    }

    /// Where the pods of that claim see it, once it is bound and mounted.
    pub async fn mounted(&self, namespace: &str, claim: &str) -> Result<PathBuf> {
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(self.client(), namespace);
        let what = format!("{namespace}/{claim} is mounted");
        until(&what, SOON, async || {
            let spec = claims.get(claim).await?.spec;
            let pv = spec.and_then(|spec| spec.volume_name);
            Ok(pv.and_then(|pv| self.driver.path(&pv)))
        })
        .await
    }

    /// The names of all blobs of the BackupStorageLocation.
    pub async fn blobs(&self) -> Result<Vec<String>> {
        self.azurite.client()?.list(install::CONTAINER, "").await
    }

    /// The zone for each zone on restore, `westeurope-1=westeurope-2,…`.
    pub async fn map_zones(&self, mapping: &str) -> Result<()> {
        let mapping = [("zoneMapping", mapping)];
        let settings = [Plugin::Stillpoint.settings(), &mapping].concat();
        self.snapshot_location(&settings).await
    }

    /// Gives the VolumeSnapshotLocation these settings, and no others beyond where snapshots go.
    pub async fn snapshot_location(&self, settings: &[(&str, &str)]) -> Result<()> {
        let written = install::snapshot_location(&self.cluster, &self.azure, settings).await;
        written.context("the VolumeSnapshotLocation")
    }

    /// The agent of a node.
    pub fn agent(&mut self, node: &str) -> Result<&mut Agent> {
        let agent = self.agents.get_mut(node);
        agent.with_context(|| format!("{node} has no agent"))
    }

    /// Starts the agent of a node again, as its kubelet does when it has ended.
    pub async fn restart_agent(&mut self, node: &str) -> Result<()> {
        let kubeconfig = self.cluster.agent_kubeconfig(node).await?;
        task::block_in_place(|| {
            self.agents.remove(node);
            let kubelet = self.driver.kubelet(node).context("there is no such node")?;
            let home = agent_home(&self.directory, node);
            let agent = Agent::start(kubelet, &home, Some(&kubeconfig))?;
            self.agents.insert(node.into(), agent);
            Ok(())
        })
    }
}

fn agent_home(directory: &TempDir, node: &str) -> PathBuf {
    directory.path().join(node).join("agent")
}

fn plugins(directory: &TempDir) -> PathBuf {
    directory.path().join("plugins")
}

/// Who signed what the public cloud's names lead to.
fn trusted(directory: &TempDir) -> PathBuf {
    directory.path().join("authorities.pem")
}

fn server(
    directory: &TempDir,
    cloud: Cloud,
    more: &[String],
    environment: &[(String, String)],
) -> VeleroOptions {
    let mut flags = vec!["--garbage-collection-frequency=1s".into()];
    flags.extend_from_slice(more);
    let mut variables = environment.to_vec();
    variables.push(("STILLPOINT_ALSO_SERVE".into(), "velero.io/azure".into()));
    if cloud == Cloud::Public {
        let trusted = trusted(directory).display().to_string();
        variables.push(("SSL_CERT_FILE".into(), trusted));
    }
    VeleroOptions {
        plugins: Some(plugins(directory)),
        flags,
        variables,
        ..VeleroOptions::default()
    }
}
