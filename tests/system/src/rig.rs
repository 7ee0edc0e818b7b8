//! One node, its Azure, its agent, and the plugin as Velero runs it.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use stillpoint_lab::{
    Kind as Resource, Lab, NewDisk, ResourceId, Settings, Sku,
    host::{Host, Plugin, Snapshotter},
};
use stillpoint_loopfs::{self as loopfs, Kind};
use tempfile::TempDir;

use crate::{
    agent::Agent,
    kubelet::{Kubelet, PodVolume},
    programs,
};

/// The name under which the plugin is registered.
pub const NAME: &str = "stillpoint.io/azure";
/// Where the lab's disks are.
pub const ZONE: &str = "westeurope-1";

/// A node with an agent, and the Azure behind it. Volumes of it must be dropped first.
#[derive(Debug)]
pub struct Rig {
    agent: Option<Agent>,
    /// The node's kubelet.
    pub kubelet: Kubelet,
    /// The simulated Azure.
    pub lab: Lab,
    /// For the agents that are started from now on.
    pub agent_variables: Vec<(String, PathBuf)>,
    directory: TempDir,
}

/// A managed disk with a filesystem, attached to the node and mounted into a pod.
#[derive(Debug)]
pub struct Volume {
    /// The disk.
    pub id: ResourceId,
    /// Its filesystem.
    pub kind: Kind,
    /// Its mounts.
    pub mounts: PodVolume,
}

impl Rig {
    /// Starts the lab and an agent.
    pub async fn start(settings: Settings) -> Result<Self> {
        Self::start_in(&std::env::temp_dir(), settings).await
    }

    /// The same with all files, the disks' too, below `parent`.
    pub async fn start_in(parent: &Path, mut settings: Settings) -> Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("stillpoint-rig-")
            .tempdir_in(parent)?;
        settings.directory = Some(directory.path().join("lab"));
        let kubelet = Kubelet::at(&directory.path().join("kubelet"))?;
        let lab = Lab::start(settings).await?;
        let mut rig = Self {
            agent: None,
            kubelet,
            lab,
            agent_variables: Vec::new(),
            directory,
        };
        rig.start_agent()?;
        Ok(rig)
    }

    /// Starts the agent, again if there was one: on the same journal and socket.
    pub fn start_agent(&mut self) -> Result<&mut Agent> {
        self.start_agent_of(None)
    }

    /// The same in the cluster of that kubeconfig.
    pub fn start_agent_of(&mut self, kubeconfig: Option<&Path>) -> Result<&mut Agent> {
        self.agent = None;
        let directory = self.directory.path().join("agent");
        let variables = &self.agent_variables;
        let agent = Agent::start_with(&self.kubelet, &directory, kubeconfig, variables)?;
        Ok(self.agent.insert(agent))
    }

    /// Tells the agent to stop, and waits until it has.
    pub fn stop_agent(&mut self) {
        self.agent = None;
    }

    /// Where the agent listens.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("agent/agent.sock")
    }

    /// The agent, as last started.
    pub fn agent(&mut self) -> Result<&mut Agent> {
        self.agent.as_mut().context("the agent was never started")
    }

    /// A directory for what a test keeps.
    pub fn scratch(&self) -> &Path {
        self.directory.path()
    }

    /// A Premium SSD in zone 1 with an empty filesystem, mounted into a pod.
    pub fn volume(&self, name: &str, kind: Kind) -> Result<Volume> {
        self.volume_on(
            NewDisk {
                zone: Some("1".into()),
                ..NewDisk::new(self.lab.disk_id(name))
            },
            kind,
        )
    }

    /// The same on a disk of that description.
    pub fn volume_on(&self, disk: NewDisk, kind: Kind) -> Result<Volume> {
        let id = self.lab.create_disk(&disk)?;
        let machine = ResourceId {
            kind: Resource::VirtualMachine,
            name: "node-1".into(),
            ..id.clone()
        };
        self.lab.attach(&id, Some(machine))?;
        let image = self.lab.disk_file(&id).context("the lab lost a disk")?;
        loopfs::format(&image, kind, disk.gib << 10)?;
        let handle = id.to_string();
        let pv = format!("pvc-{}", id.name);
        let mounts = self
            .kubelet
            .mount_csi(&handle, &pv, &format!("pod-{}", id.name), &image)?;
        Ok(Volume { id, kind, mounts })
    }

    /// A location's config that leads to the lab and the agent, with `more` besides.
    pub fn config<'a>(&self, more: &[(&'a str, &'a str)]) -> Vec<(String, String)> {
        let mut config = self.lab.location_config();
        config.insert("agent".into(), format!("unix:{}", self.socket().display()));
        config.extend(
            more.iter()
                .map(|(key, value)| ((*key).into(), (*value).into())),
        );
        config.into_iter().collect()
    }

    /// Starts the plugin as Velero does.
    pub async fn plugin(&self) -> Result<Plugin> {
        self.plugin_of(None).await
    }

    /// The same for a Velero server that was given that kubeconfig.
    pub async fn plugin_of(&self, kubeconfig: Option<&Path>) -> Result<Plugin> {
        let mut host =
            Host::new(programs::program(programs::PLUGIN)?).argument("--log-level=debug");
        if let Some(path) = kubeconfig {
            host = host.argument(format!("--kubeconfig={}", path.display()));
        }
        Ok(host.start().await?)
    }

    /// A VolumeSnapshotter of `plugin`, initialized with [`Rig::config`].
    pub async fn snapshotter(&self, plugin: &Plugin, more: &[(&str, &str)]) -> Result<Snapshotter> {
        let snapshotter = plugin.snapshotter(NAME);
        let config = self.config(more);
        let config: Vec<_> = config
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        snapshotter.init(&config).await?;
        Ok(snapshotter)
    }
}

impl Volume {
    /// Where the pod sees it.
    pub fn path(&self) -> &Path {
        self.mounts.path()
    }

    /// The disk's ID as text.
    pub fn handle(&self) -> String {
        self.id.to_string()
    }

    /// Fails if a write does not come through at once: the filesystem is frozen. It is thawed then, by the drop of
    /// the volume at the latest.
    pub fn write_something(&self) -> Result<()> {
        let file = self.mounts.staged.path().join("written-afterwards");
        let (done, waited) = mpsc::channel();
        thread::spawn(move || {
            let written = fs::write(&file, b"x").and_then(|()| fs::File::open(&file)?.sync_all());
            let _ = done.send(written);
        });
        match waited.recv_timeout(Duration::from_secs(5)) {
            Ok(written) => Ok(written?),
            Err(_) => bail!("{} is frozen", self.id),
        }
    }

    /// The PV of the volume, as the CSI driver's provisioner writes it.
    pub fn persistent_volume(&self) -> Value {
        let name = format!("pvc-{}", self.id.name);
        json!({
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {
                "name": name,
                "annotations": { "pv.kubernetes.io/provisioned-by": "disk.csi.azure.com" },
                "labels": {
                    "topology.kubernetes.io/region": "westeurope",
                    "topology.kubernetes.io/zone": ZONE,
                },
            },
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "capacity": { "storage": "1Gi" },
                "claimRef": {
                    "kind": "PersistentVolumeClaim", "namespace": "shop", "name": self.id.name, "apiVersion": "v1",
                },
                "csi": {
                    "driver": "disk.csi.azure.com",
                    "volumeHandle": self.handle(),
                    "fsType": self.kind.name(),
                    "volumeAttributes": {
                        "csi.storage.k8s.io/pv/name": name,
                        "csi.storage.k8s.io/pvc/name": self.id.name,
                        "csi.storage.k8s.io/pvc/namespace": "shop",
                        "requestedsizegib": "1",
                        "skuName": Sku::PremiumLrs.name(),
                    },
                },
                "nodeAffinity": { "required": { "nodeSelectorTerms": [{ "matchExpressions": [{
                    "key": "topology.disk.csi.azure.com/zone", "operator": "In", "values": [ZONE],
                }] }] } },
                "persistentVolumeReclaimPolicy": "Delete",
                "storageClassName": "managed-csi-premium",
                "volumeMode": "Filesystem",
            },
        })
    }
}
