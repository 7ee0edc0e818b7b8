//! All of it, started together and gone together.

use std::{
    collections::BTreeMap,
    fs::{self, Permissions},
    net::{IpAddr, Ipv4Addr, SocketAddr},
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

use crate::{
    csi::{Maker, Snapshots},
    driver::{Driver, Node},
    install, postgres,
};

/// For what follows by itself; the machine may be busy.
pub const SOON: Duration = Duration::from_secs(60);

/// The region's zones; each has a node `node-N`.
pub const ZONES: [&str; 3] = ["westeurope-1", "westeurope-2", "westeurope-3"];

/// Where the public cloud's names lead in a namespace of ours.
const PUBLIC_CLOUD: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 443);

/// How a world is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// Azure; its directory is the world's own.
    pub lab: Settings,
    /// More flags of Velero's server.
    pub flags: Vec<String>,
    /// What makes CSI snapshots. With it Velero has its feature EnableCSI, and leaves our plugin no disks.
    pub csi: Option<Maker>,
}

impl Default for Options {
    /// An Azure that takes its time for snapshots only, and little of it.
    fn default() -> Self {
        let mut lab = Settings::fast();
        lab.snapshot.duration = Duration::from_millis(400);
        Self {
            lab,
            flags: Vec::new(),
            csi: None,
        }
    }
}

/// Dropped in this order.
pub struct World {
    /// The server and its command line.
    pub velero: Velero,
    /// With [`Options::csi`].
    pub snapshots: Option<Snapshots>,
    /// Stands in for the disks' CSI driver.
    pub driver: Driver,
    agents: BTreeMap<String, Agent>,
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
        let mut lab = Settings {
            directory: Some(directory.path().join("lab")),
            ..options.lab
        };
        if let Some(Maker::AzureDisk(_)) = options.csi {
            lab.listen = PUBLIC_CLOUD;
        }
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
            let agent = Agent::start(&kubelet, &home.join("agent"), Some(&kubeconfig))?;
            agents.insert(name.clone(), agent);
            let zone = zone.into();
            nodes.insert(name, Node { zone, kubelet });
        }
        let driver = Driver::start(cluster.client(), Arc::clone(&lab), nodes);

        let mut flags = vec!["--garbage-collection-frequency=1s".into()];
        flags.extend(options.flags);
        // Velero looks for the kinds of snapshots when it starts.
        let mut snapshots = None;
        if let Some(maker) = &options.csi {
            snapshots = Some(Snapshots::start(&cluster, &lab, maker).await?);
            flags.push("--features=EnableCSI".into());
        }
        let plugins = directory.path().join("plugins");
        fs::create_dir_all(&plugins)?;
        let plugin = programs::program(programs::PLUGIN)?;
        let installed = Command::new(plugin).arg("install").arg(&plugins).output()?;
        ensure!(installed.status.success(), "{installed:?}");
        let options = VeleroOptions {
            plugins: Some(plugins),
            flags,
            variables: vec![("STILLPOINT_ALSO_SERVE".into(), "velero.io/azure".into())],
            ..VeleroOptions::default()
        };
        let velero = cluster.start_velero(options).await?;
        install::locations(&cluster, &lab, &azurite, &account).await?;
        let world = Self {
            velero,
            snapshots,
            driver,
            agents,
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

    /// The zone for each zone on restore, `westeurope-1=westeurope-2,…`.
    pub async fn map_zones(&self, mapping: &str) -> Result<()> {
        install::snapshot_location(&self.cluster, &self.lab, &[("zoneMapping", mapping)])
            .await
            .context("the VolumeSnapshotLocation")
    }
}
