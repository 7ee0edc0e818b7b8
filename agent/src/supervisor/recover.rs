//! From a journal entry of the past to the filesystem that may still be frozen.

use std::os::fd::OwnedFd;

use rustix::{
    fs::{self, Mode, OFlags},
    io::Errno,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount,
        fsopen,
    },
};

use crate::{
    identity,
    journal::{Entry, State},
    kernel::{Kernel as _, Linux},
    mountinfo::MountTable,
};

/// What an entry leads to.
pub(super) enum Found {
    /// Nothing of ours can be frozen; the reason is for the log.
    Nothing(&'static str),
    /// The filesystem; a FITHAW will tell.
    Filesystem(OwnedFd),
    /// It exists, but there is no way to it now.
    Unreachable(String),
}

/// Looks for the filesystem of `entry`. The rules:
///
/// 1. An `intent` did not come to FIFREEZE; what is frozen there is someone else's. Another boot, a device that is gone,
///    a device of another instance under the same number: nothing is left to thaw.
/// 2. Whatever mount shows the same superblock will do.
/// 3. Mounted nowhere here, but claimed by a superblock: it was unmounted while frozen, or lives in another mount
///    namespace. Mounting the device again, attached to no path, leads to that same superblock.
pub(super) fn find(entry: &Entry, table: &MountTable) -> Found {
    if entry.state == State::Intent {
        return Found::Nothing("it had not come to FIFREEZE");
    }
    if entry.boot != identity::boot() {
        return Found::Nothing("the machine was restarted since");
    }
    let block = identity::block_device(entry.device, &entry.source);
    if block.is_some_and(|block| !identity::is_present(block)) {
        return Found::Nothing("its device is gone");
    }
    if entry.sequence.is_some() && block.and_then(identity::sequence) != entry.sequence {
        return Found::Nothing("its device was replaced by another");
    }
    let mut last = None;
    for mount in table.of(entry.device) {
        if mount.filesystem != entry.filesystem || mount.source != entry.source {
            // The number of an anonymous device was given to another filesystem.
            if entry.device.is_anonymous() {
                continue;
            }
        }
        match Linux.open(mount) {
            Ok(root) => return Found::Filesystem(root),
            Err(errno) => last = Some(format!("{}: {errno}", mount.point.display())),
        }
    }
    if let Some(error) = last {
        return Found::Unreachable(error);
    }
    match unmounted(entry) {
        Ok(Some(root)) => Found::Filesystem(root),
        Ok(None) => Found::Nothing("no filesystem is on its device any more"),
        Err(errno) => Found::Unreachable(format!(
            "mounted nowhere, and {} cannot be mounted: {errno}",
            entry.source.display()
        )),
    }
}

/// The root of the superblock that lives on without a mount; `None` if there is none.
fn unmounted(entry: &Entry) -> Result<Option<OwnedFd>, Errno> {
    // A superblock claims its device, so that nobody else can.
    match fs::open(
        &entry.source,
        OFlags::RDONLY | OFlags::EXCL | OFlags::CLOEXEC,
        Mode::empty(),
    ) {
        Ok(_) => return Ok(None),
        Err(Errno::BUSY) => {}
        Err(errno) => return Err(errno),
    }
    let context = fsopen(entry.filesystem.as_str(), FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "source", &entry.source)?;
    fsconfig_create(&context)?;
    let mount = fsmount(
        &context,
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::empty(),
    )?;
    let root = fs::openat(
        &mount,
        ".",
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    Ok(Some(root))
}
