//! What `disk.csi.azure.com` does in a cluster, as far as the rest needs it: a disk for each claim, attached and mounted
//! where its pod is, deleted with its PersistentVolume.

mod copy;
mod provision;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result};
use k8s_openapi::api::{core::v1::PersistentVolume, storage::v1::VolumeAttachment};
use kube::{
    Api, Client, ResourceExt as _,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::json;
use stillpoint_lab::{Kind as Resource, Lab, ResourceId, Sku};
use stillpoint_loopfs::Kind;
use stillpoint_system::{
    arm::Arm,
    inspect,
    kubelet::{BlockVolume, Kubelet, PodVolume},
};
use tokio::{sync::OnceCell, task, task::JoinHandle, time};

/// The driver's name.
pub const NAME: &str = "disk.csi.azure.com";
const POLL: Duration = Duration::from_millis(100);

/// A node on which disks are mounted.
#[derive(Debug)]
pub struct Node {
    /// Where its disks must be, `westeurope-1`.
    pub zone: String,
    /// Its mounts.
    pub kubelet: Kubelet,
}

/// The running driver. Dropping it unmounts everything.
#[derive(Debug)]
pub struct Driver {
    task: JoinHandle<()>,
    state: Arc<State>,
}

struct State {
    client: Client,
    nodes: BTreeMap<String, Node>,
    mounts: Mutex<Mounts>,
    /// Logged in at first need.
    arm: OnceCell<Arm>,
    // After the mounts, whose images are its files.
    lab: Arc<Lab>,
}

/// By the name of their VolumeAttachment.
#[derive(Default)]
struct Mounts {
    volumes: BTreeMap<String, Mount>,
    ended: bool,
}

struct Mount {
    pv: String,
    disk: ResourceId,
    used: Use,
}

/// How a pod has a disk.
enum Use {
    Filesystem { volume: PodVolume, replayed: bool },
    Block { _record: BlockVolume },
}

impl Mounts {
    fn of(&self, pv: &str) -> Option<&Mount> {
        self.volumes.values().find(|mount| mount.pv == pv)
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").finish_non_exhaustive()
    }
}

impl Driver {
    /// Begins to serve these nodes, by name.
    pub fn start(client: Client, lab: Arc<Lab>, nodes: BTreeMap<String, Node>) -> Self {
        let state = Arc::new(State {
            client,
            nodes,
            mounts: Mutex::default(),
            arm: OnceCell::new(),
            lab,
        });
        let own = Arc::clone(&state);
        let task = tokio::spawn(async move {
            let mut told = String::new();
            loop {
                if let Err(error) = own.reconcile().await {
                    let error = format!("{error:#}");
                    if error != told {
                        eprintln!("the driver tries again: {error}");
                        told = error;
                    }
                }
                time::sleep(POLL).await;
            }
        });
        Self { task, state }
    }

    /// A formatted Premium SSD of 1 GiB that no claim has asked for.
    pub fn disk(&self, name: &str, zone: &str) -> Result<ResourceId> {
        self.state
            .disk(name, zone, Sku::PremiumLrs, BTreeMap::new())
    }

    /// The mounts of a node.
    pub fn kubelet(&self, node: &str) -> Option<&Kubelet> {
        self.state.nodes.get(node).map(|node| &node.kubelet)
    }

    /// Where a pod sees that PersistentVolume, while it is mounted.
    pub fn path(&self, pv: &str) -> Option<PathBuf> {
        let mounts = self.state.mounts();
        match &mounts.of(pv)?.used {
            Use::Filesystem { volume, .. } => Some(volume.path().to_owned()),
            Use::Block { .. } => None,
        }
    }

    /// Whether it is attached to a node, mounted or not.
    pub fn is_attached(&self, pv: &str) -> bool {
        self.state.mounts().of(pv).is_some()
    }

    /// From now on the watchdog of that PersistentVolume's filesystem waits that long.
    pub fn watch(&self, pv: &str, within: Duration) -> Result<()> {
        let mut mounts = self.state.mounts();
        let mut volumes = mounts.volumes.values_mut();
        let mount = volumes.find(|mount| mount.pv == pv);
        let mount = mount.with_context(|| format!("{pv} is not mounted"))?;
        match &mut mount.used {
            Use::Filesystem { volume, .. } => volume.staged.watch(within),
            Use::Block { .. } => Ok(()),
        }
    }

    /// Whether its journal had to be replayed when it was mounted.
    pub fn replayed(&self, pv: &str) -> Option<bool> {
        match self.state.mounts().of(pv)?.used {
            Use::Filesystem { replayed, .. } => Some(replayed),
            Use::Block { .. } => None,
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.task.abort();
        let mut mounts = self.state.mounts();
        mounts.ended = true;
        mounts.volumes.clear();
    }
}

impl State {
    fn mounts(&self) -> MutexGuard<'_, Mounts> {
        self.mounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn reconcile(&self) -> Result<()> {
        // What one has to wait for keeps none of the others.
        let provisioned = self.provision().await.context("provisioning");
        let attached = self.attach().await.context("attaching");
        let reclaimed = self.reclaim().await.context("reclaiming");
        provisioned.and(attached).and(reclaimed)
    }

    /// Makes what is mounted what the VolumeAttachments say.
    async fn attach(&self) -> Result<()> {
        let attachments: Api<VolumeAttachment> = Api::all(self.client.clone());
        let volumes: Api<PersistentVolume> = Api::all(self.client.clone());
        let mut wanted = BTreeSet::new();
        for attachment in attachments.list(&ListParams::default()).await? {
            let name = attachment.metadata.name.unwrap_or_default();
            let (spec, source) = (&attachment.spec, &attachment.spec.source);
            let Some(pv) = source.persistent_volume_name.clone() else {
                continue;
            };
            wanted.insert(name.clone());
            if attachment.status.is_some_and(|status| status.attached) {
                continue;
            }
            if !self.mounts().volumes.contains_key(&name) {
                let node = self.nodes.get(&spec.node_name);
                let node = node.context("a node that is none")?;
                self.mount(&name, &volumes.get(&pv).await?, node)?;
            }
            let attached = Patch::Merge(json!({ "status": { "attached": true } }));
            attachments
                .patch_status(&name, &PatchParams::default(), &attached)
                .await?;
        }
        let mut gone = Vec::new();
        let mut mounts = self.mounts();
        while let Some(name) = mounts.volumes.keys().find(|name| !wanted.contains(*name)) {
            let name = name.clone();
            gone.extend(mounts.volumes.remove(&name));
        }
        drop(mounts);
        for mount in gone {
            task::block_in_place(|| drop(mount.used));
            self.lab.attach(&mount.disk, None)?;
        }
        Ok(())
    }

    fn mount(&self, attachment: &str, volume: &PersistentVolume, node: &Node) -> Result<()> {
        let pv = volume.name_any();
        let handle = handle(volume).context("a PV without a disk")?;
        let disk: ResourceId = handle.parse()?;
        let machine = ResourceId {
            kind: Resource::VirtualMachine,
            name: node.kubelet.node().into(),
            ..disk.clone()
        };
        let zone = self.lab.disk(&disk).context("the PV's disk is not there")?["zones"].take();
        anyhow::ensure!(
            zone[0].as_str() == node.zone.rsplit_once('-').map(|(_, number)| number),
            "disk {disk} of zone {zone} cannot be attached in {}",
            node.zone
        );
        self.lab.attach(&disk, Some(machine))?;
        let image = self.lab.disk_file(&disk).context("the lab lost a disk")?;
        let mode = volume.spec.as_ref();
        let mode = mode.and_then(|spec| spec.volume_mode.as_deref());
        let used = if mode == Some("Block") {
            let _record = node.kubelet.map_block(&handle, &pv)?;
            Use::Block { _record }
        } else {
            let pod = format!("pod-of-{pv}");
            task::block_in_place(|| {
                let replayed = !inspect::journal(&image, Kind::Ext4)?.clean;
                let volume = node.kubelet.mount_csi(&handle, &pv, &pod, &image)?;
                anyhow::Ok(Use::Filesystem { volume, replayed })
            })?
        };
        let mut mounts = self.mounts();
        if !mounts.ended {
            let mount = Mount { pv, disk, used };
            mounts.volumes.insert(attachment.into(), mount);
        }
        Ok(())
    }
}

/// The disk of a PersistentVolume of ours, in-tree ones too.
fn handle(volume: &PersistentVolume) -> Option<String> {
    let spec = volume.spec.as_ref()?;
    let csi = spec.csi.as_ref().filter(|csi| csi.driver == NAME);
    let in_tree = spec.azure_disk.as_ref();
    csi.map(|csi| csi.volume_handle.clone())
        .or_else(|| in_tree.map(|disk| disk.disk_uri.clone()))
}
