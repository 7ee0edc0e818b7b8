//! The files behind disks and snapshots: sparse, on one xfs, so that a cut is one reflink.
//!
//! FICLONE holds the source's inode lock exclusively: a write is in the copy entirely or not at all,
//! and one that came after another is never in it without the other. It writes dirty pages out
//! first, so what a loop device has put into the page cache of its backing file is in the copy.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use stillpoint_loopfs::{Kind, Mounted};

/// The mounted pool. Dropping it unmounts it.
#[derive(Debug)]
pub(crate) struct Store {
    root: PathBuf,
    _mounted: Mounted,
}

impl Store {
    /// Makes (anew) and mounts the pool in `directory`.
    pub(crate) fn create(directory: &Path, mebibytes: u64) -> anyhow::Result<Self> {
        let root = directory.join("pool");
        unmount_leftover(&root);
        let image = directory.join("pool.img");
        if image.exists() {
            fs::remove_file(&image)?;
        }
        stillpoint_loopfs::format(&image, Kind::Xfs, mebibytes)?;
        let mounted = Mounted::image(&image, &root, "")?;
        Ok(Self {
            root,
            _mounted: mounted,
        })
    }

    /// A path for a new file.
    pub(crate) fn fresh(&self, kind: &str) -> PathBuf {
        self.root
            .join(format!("{kind}-{}.img", uuid::Uuid::new_v4()))
    }
}

/// An empty sparse file of `bytes`.
pub(crate) fn create(file: &Path, bytes: u64) -> io::Result<()> {
    File::create_new(file)?.set_len(bytes)
}

/// Makes `file` larger; what is there stays.
pub(crate) fn grow(file: &Path, bytes: u64) -> io::Result<()> {
    let file = File::options().write(true).open(file)?;
    if file.metadata()?.len() < bytes {
        file.set_len(bytes)?;
    }
    Ok(())
}

/// Copies `source` into the new file `target` at one instant, and says how large it is.
pub(crate) fn cut(source: &Path, target: &Path) -> io::Result<u64> {
    let source = File::open(source)?;
    let target = File::create_new(target)?;
    rustix::fs::ioctl_ficlone(&target, &source)?;
    Ok(target.metadata()?.len())
}

/// Removes a file; a loop device that still has it open keeps its data.
pub(crate) fn remove(file: &Path) {
    if let Err(error) = fs::remove_file(file) {
        tracing::debug!(file = %file.display(), %error, "cannot remove");
    }
}

/// A lab that was killed leaves its pool mounted.
fn unmount_leftover(root: &Path) {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let at = root.display().to_string();
    if mounts
        .lines()
        .any(|line| line.split(' ').nth(4) == Some(&at))
    {
        tracing::warn!(pool = at, "unmounting what an earlier lab left");
        let _ = std::process::Command::new("umount")
            .arg("--lazy")
            .arg(root)
            .status();
    }
}
