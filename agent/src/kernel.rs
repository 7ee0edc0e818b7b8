//! The seam to the kernel: what a freeze needs of it, and Linux's way to do it. All calls may block.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{self, AtFlags, Mode, OFlags, StatxFlags},
    io::Errno,
};

use crate::{mountinfo::Mount, sys};

/// Opens, flushes, freezes and thaws filesystems.
pub(crate) trait Kernel: Send + Sync + 'static {
    /// The root directory of `mount`. `ESTALE` if something else, or nothing, is mounted there by now.
    fn open(&self, mount: &Mount) -> Result<OwnedFd, Errno>;
    /// Writes dirty data back while writers go on.
    fn sync(&self, root: BorrowedFd<'_>) -> Result<(), Errno>;
    /// `EBUSY` if it is frozen already.
    fn freeze(&self, root: BorrowedFd<'_>) -> Result<(), Errno>;
    /// `EINVAL` if it is not frozen.
    fn thaw(&self, root: BorrowedFd<'_>) -> Result<(), Errno>;

    /// Whether the filesystem is frozen. Only a freeze can tell; one that succeeds is undone at once.
    fn is_frozen(&self, root: BorrowedFd<'_>) -> Result<bool, Errno> {
        match self.freeze(root) {
            Ok(()) => self.thaw(root).map(|()| false),
            Err(Errno::BUSY) => Ok(true),
            Err(errno) => Err(errno),
        }
    }
}

/// The kernel that runs this process.
pub(crate) struct Linux;

impl Kernel for Linux {
    fn open(&self, mount: &Mount) -> Result<OwnedFd, Errno> {
        let root = open_directory(&mount.point)?;
        // The table was read before the open: only the mount's ID tells that it is still the same mount.
        if mount_id(root.as_fd())? == mount.id {
            Ok(root)
        } else {
            Err(Errno::STALE)
        }
    }

    fn sync(&self, root: BorrowedFd<'_>) -> Result<(), Errno> {
        fs::syncfs(root)
    }

    fn freeze(&self, root: BorrowedFd<'_>) -> Result<(), Errno> {
        sys::freeze(root)
    }

    fn thaw(&self, root: BorrowedFd<'_>) -> Result<(), Errno> {
        sys::thaw(root)
    }
}

/// Whether this process may freeze and thaw at all, tried on what cannot be frozen.
pub(crate) fn is_allowed() -> Result<(), Errno> {
    let procfs = open_directory(Path::new("/proc"))?;
    match sys::thaw(procfs.as_fd()) {
        Err(Errno::INVAL) => Ok(()),
        other => other,
    }
}

/// A descriptor on which the freeze ioctls work; `O_PATH` would not do.
pub(crate) fn open_directory(path: &Path) -> Result<OwnedFd, Errno> {
    fs::open(
        path,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

/// The ID, in the mount table, of the mount that `fd` was opened on (`STATX_MNT_ID`, Linux 5.8).
pub(crate) fn mount_id(fd: BorrowedFd<'_>) -> Result<u64, Errno> {
    let stat = fs::statx(fd, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)?;
    Ok(stat.stx_mnt_id)
}
