//! All of it, started together and gone together.

use std::{
    collections::BTreeMap,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::Command,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::{coordination::v1::Lease, core::v1::PersistentVolumeClaim};
use kube::{Api, Client};
use stillpoint_cluster::{Cluster, Parts, Velero, VeleroOptions, until};
use stillpoint_lab::{Lab, Settings};
use stillpoint_system::{
    agent::Agent,
    blob::{Account, Authority, Azurite, Data, Logins},
    kubelet::Kubelet,
    programs,
};
use tempfile::TempDir;
use tokio::task;

use crate::{
    driver::{Driver, Node},
    install, postgres,
};

/// For what follows by itself; the machine may be busy.
pub const SOON: Duration = Duration::from_secs(60);

/// The region's zones; each has a node `node-N`.
pub const ZONES: [&str; 3] = ["westeurope-1", "westeurope-2", "westeurope-3"];

/// How a world is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// Azure; its directory is the world's own.
    pub lab: Settings,
    /// More flags of Velero's server.
    pub flags: Vec<String>,
    /// In the config of the VolumeSnapshotLocation, besides what leads to Azure.
    pub location: Vec<(&'static str, &'static str)>,
}

impl Default for Options {
    /// An Azure that takes its time for snapshots only, and little of it.
    fn default() -> Self {
        let mut lab = Settings::fast();
        lab.snapshot.duration = Duration::from_millis(400);
        Self {
            lab,
            flags: Vec::new(),
            location: Vec::new(),
        }
    }
}

/// Dropped in this order.
pub struct World {
    /// The server and its command line.
    pub velero: Velero,
    /// Stands in for the disks' CSI driver.
    pub driver: Driver,
    agents: BTreeMap<String, Agent>,
    /// Who the agents are.
    agents_kubeconfig: PathBuf,
    azurite: Azurite,
    /// Kubernetes.
    pub cluster: Cluster,
    /// Azure.
    pub lab: Arc<Lab>,
    directory: TempDir,
}

impl World {
    /// Starts everything; `None`, and said, where it cannot run.
    pub async fn start(options: Options) -> Result<Option<Self>> {
        let missing = stillpoint_loopfs::missing()
            .or_else(stillpoint_cluster::missing)
            .or_else(postgres::missing);
        if let Some(why) = missing {
            eprintln!("SKIPPED: {why}");
            return Ok(None);
        }
        Self::set(options).await.map(Some)
    }

    async fn set(options: Options) -> Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("stillpoint-e2e-")
            .tempdir()?;
        // Programs in pods have users of their own.
        fs::set_permissions(directory.path(), Permissions::from_mode(0o711))?;
        let lab = Settings {
            directory: Some(directory.path().join("lab")),
            ..options.lab
        };
        let lab = Arc::new(Lab::start(lab).await?);
        let account = Account::new("backups")?;
        let accounts = std::slice::from_ref(&account);
        let azurite = Azurite::start(&Authority::new()?, accounts, Logins::Keys, Data::Temporary)?;
        azurite
            .client()?
            .create_container(install::CONTAINER)
            .await?;

        let cluster = Cluster::start(Parts::All).await?;
        install::rights(&cluster).await?;
        let token = cluster.token("velero", "stillpoint-agent", None).await?;
        let kubeconfig = cluster.kubeconfig_with("stillpoint-agent", &token)?;
        let (mut agents, mut nodes) = (BTreeMap::new(), BTreeMap::new());
        for (number, zone) in (1..).zip(ZONES) {
            let name = format!("node-{number}");
            install::node(&cluster, &name, zone).await?;
            let home = directory.path().join(&name);
            let kubelet = Kubelet::of(&name, &home.join("kubelet"))?;
            let agent = Agent::start(&kubelet, &agent_home(&directory, &name), Some(&kubeconfig))?;
            agents.insert(name.clone(), agent);
            let zone = zone.into();
            nodes.insert(name, Node { zone, kubelet });
        }
        let driver = Driver::start(cluster.client(), Arc::clone(&lab), nodes);

        let plugins = directory.path().join("plugins");
        fs::create_dir_all(&plugins)?;
        let plugin = programs::program(programs::PLUGIN)?;
        let installed = Command::new(plugin).arg("install").arg(&plugins).output()?;
        ensure!(installed.status.success(), "{installed:?}");
        let mut flags = vec!["--garbage-collection-frequency=1s".into()];
        flags.extend(options.flags);
        let velero = VeleroOptions {
            plugins: Some(plugins),
            flags,
            variables: vec![("STILLPOINT_ALSO_SERVE".into(), "velero.io/azure".into())],
            ..VeleroOptions::default()
        };
        let velero = cluster.start_velero(velero).await?;
        install::backup_location(&cluster, &lab, &azurite, &account).await?;
        install::snapshot_location(&cluster, &lab, &options.location).await?;
        let world = Self {
            velero,
            driver,
            agents,
            agents_kubeconfig: kubeconfig,
            azurite,
            cluster,
            lab,
            directory,
        };
        world.ready().await?;
        Ok(world)
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

    /// Writes the VolumeSnapshotLocation anew, with this in its config besides. Velero may take a moment to see it.
    pub async fn snapshot_location(&self, more: &[(&str, &str)]) -> Result<()> {
        install::snapshot_location(&self.cluster, &self.lab, more)
            .await
            .context("the VolumeSnapshotLocation")
    }

    /// The agent of a node.
    pub fn agent(&mut self, node: &str) -> Result<&mut Agent> {
        let agent = self.agents.get_mut(node);
        agent.with_context(|| format!("{node} has no agent"))
    }

    /// Starts the agent of a node again, as its kubelet does when it has ended.
    pub fn restart_agent(&mut self, node: &str) -> Result<()> {
        task::block_in_place(|| {
            self.agents.remove(node);
            let kubelet = self.driver.kubelet(node).context("there is no such node")?;
            let home = agent_home(&self.directory, node);
            let agent = Agent::start(kubelet, &home, Some(&self.agents_kubeconfig))?;
            self.agents.insert(node.into(), agent);
            Ok(())
        })
    }
}

fn agent_home(directory: &TempDir, node: &str) -> PathBuf {
    directory.path().join(node).join("agent")
}
