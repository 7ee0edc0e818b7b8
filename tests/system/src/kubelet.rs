//! The files of a kubelet: where it mounts volumes, and what it writes down about them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, ensure};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use stillpoint_loopfs::Mounted;

const DRIVER: &str = "disk.csi.azure.com";

/// A kubelet's root directory (`/var/lib/kubelet` on a node).
#[derive(Debug)]
pub struct Kubelet {
    root: PathBuf,
    node: String,
}

/// A volume that a pod uses: staged for the node, bound into the pod.
#[derive(Debug)]
pub struct PodVolume {
    // Unmounted in this order.
    bind: Option<BindMount>,
    /// The filesystem of the disk, where the node staged it.
    pub staged: Mounted,
}

/// A raw block volume that a pod uses: the kubelet's record of it, gone when dropped.
#[derive(Debug)]
#[must_use = "dropping it removes the record"]
pub struct BlockVolume(PathBuf);

#[derive(Debug)]
struct BindMount(PathBuf);

impl Kubelet {
    /// The kubelet whose root is `root`, created if missing, of the only node.
    pub fn at(root: &Path) -> Result<Self> {
        Self::of("node-1", root)
    }

    /// The same of that node.
    pub fn of(node: &str, root: &Path) -> Result<Self> {
        fs::create_dir_all(root)?;
        Ok(Self {
            root: root.to_owned(),
            node: node.into(),
        })
    }

    /// Its root directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Its node's name.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Mounts the disk in `image` as the CSI driver's volume `handle`, as PV `pv` into pod `pod`.
    pub fn mount_csi(&self, handle: &str, pv: &str, pod: &str, image: &Path) -> Result<PodVolume> {
        let hash: String = Sha256::digest(handle)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let staging = self
            .root
            .join("plugins/kubernetes.io/csi")
            .join(DRIVER)
            .join(hash);
        let staged = Mounted::image(image, &staging.join("globalmount"), "")?;
        let facts = json!({ "driverName": DRIVER, "volumeHandle": handle });
        fs::write(staging.join("vol_data.json"), facts.to_string())?;

        let volume = self
            .root
            .join(format!("pods/{pod}/volumes/kubernetes.io~csi/{pv}"));
        let bind = BindMount::new(staged.path(), &volume.join("mount"))?;
        let facts = json!({
            "attachmentID": format!("csi-{pod}"),
            "driverName": DRIVER,
            "nodeName": self.node,
            "specVolID": pv,
            "volumeHandle": handle,
            "volumeLifecycleMode": "Persistent",
        });
        fs::write(volume.join("vol_data.json"), facts.to_string())?;
        Ok(PodVolume {
            bind: Some(bind),
            staged,
        })
    }

    /// Gives a pod the CSI driver's volume `handle` as a raw device, as PV `pv`: nothing is mounted.
    pub fn map_block(&self, handle: &str, pv: &str) -> Result<BlockVolume> {
        let volume = self
            .root
            .join("plugins/kubernetes.io/csi/volumeDevices")
            .join(pv);
        let data = volume.join("data");
        fs::create_dir_all(&data)?;
        let facts = json!({ "driverName": DRIVER, "specVolID": pv, "volumeHandle": handle });
        fs::write(data.join("vol_data.json"), facts.to_string())?;
        Ok(BlockVolume(volume))
    }
}

impl Drop for BlockVolume {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl PodVolume {
    /// Where the pod sees it.
    pub fn path(&self) -> &Path {
        self.bind
            .as_ref()
            .map_or(self.staged.path(), |bind| &bind.0)
    }

    /// Whether nobody else can freeze it.
    pub fn is_frozen(&self) -> Result<bool> {
        let fsfreeze = |how: &str| Command::new("fsfreeze").arg(how).arg(self.path()).output();
        let frozen = fsfreeze("--freeze")?;
        if frozen.status.success() {
            let thawed = fsfreeze("--unfreeze")?;
            ensure!(thawed.status.success(), "it cannot be thawed");
            return Ok(false);
        }
        let why = String::from_utf8_lossy(&frozen.stderr);
        ensure!(why.contains("busy"), "{why}");
        Ok(true)
    }

    /// The pod goes; the volume stays staged.
    pub fn leave_pod(&mut self) {
        self.bind = None;
    }
}

impl BindMount {
    fn new(source: &Path, target: &Path) -> Result<Self> {
        fs::create_dir_all(target)?;
        let status = Command::new("mount")
            .arg("--bind")
            .args([source, target])
            .status()?;
        ensure!(
            status.success(),
            "cannot bind {} to {}",
            source.display(),
            target.display()
        );
        Ok(Self(target.to_owned()))
    }
}

impl Drop for BindMount {
    fn drop(&mut self) {
        // A frozen filesystem's bind mount can be unmounted all the same; one on which a writer has a file open only
        // lazily, else it and its loop device stay for ever.
        let unmounted = Command::new("umount").arg(&self.0).output();
        if !unmounted.is_ok_and(|output| output.status.success()) {
            let _ = Command::new("umount").arg("--lazy").arg(&self.0).output();
        }
    }
}
