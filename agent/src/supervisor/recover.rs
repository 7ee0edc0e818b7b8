//! From the journal's entries of the past to the filesystems that may still be frozen.

use std::{os::fd::OwnedFd, time::Duration};

use rustix::{
    fs::{self, Mode, OFlags},
    io::Errno,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount,
        fsopen,
    },
};

use super::{Supervisor, held::Held};
use crate::{
    identity,
    journal::{Entry, State},
    kernel::{Kernel as _, Linux},
    mountinfo::{Mount, MountTable},
};

impl Supervisor<'_> {
    /// Turns what the journal names, and nobody holds, into something to thaw. While a worker runs only the keys known
    /// as `unreachable` are looked at: the others are the worker's.
    pub(super) fn recover(&mut self) {
        let waiting = std::mem::take(&mut self.unreachable);
        let entries = match self.journal.entries() {
            Ok(entries) => entries,
            Err(error) => {
                tracing::error!(%error, "journal {} unreadable", self.journal.directory().display());
                self.unreachable = waiting;
                return;
            }
        };
        if entries.is_empty() {
            return;
        }
        let table = MountTable::read().unwrap_or_default();
        for (key, entry) in entries {
            let known = waiting.contains(&key);
            let is_workers = self.worker.is_some() && !known;
            if is_workers || self.held.iter().any(|held| held.key == key) {
                continue;
            }
            let Some(entry) = entry else {
                self.forget(&key, None, "it was cut off before FIFREEZE");
                continue;
            };
            let device = entry.device.to_string();
            match find(&entry, &table) {
                Found::Filesystem(root) => {
                    let mut held = Held::new(key, device, entry.mount_point, root, Duration::ZERO);
                    held.orphan = true;
                    self.held.push(held);
                }
                Found::Nothing(reason) => self.forget(&key, Some(device), reason),
                Found::Unreachable(error) => {
                    if !known {
                        tracing::error!(
                            device,
                            error,
                            "journalled filesystem not reached; trying on"
                        );
                    }
                    self.unreachable.insert(key);
                }
            }
        }
    }

    fn forget(&self, key: &str, device: Option<String>, reason: &str) {
        match self.journal.remove(key) {
            Ok(()) => tracing::info!(device, reason, "journal entry resolved"),
            Err(error) => tracing::warn!(device, %error, "journal entry not removed"),
        }
    }
}

/// What an entry leads to.
enum Found {
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
/// 2. Whatever mount shows the same superblock will do. An anonymous device (btrfs) keeps its number as long as its
///    superblock lives; the same source under another number is another superblock, which nobody of ours froze.
/// 3. Mounted nowhere here, but claimed by a superblock: it was unmounted while frozen, or lives in another mount
///    namespace. Mounting the device again, attached to no path, leads to that same superblock.
fn find(entry: &Entry, table: &MountTable) -> Found {
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
    let is_same =
        |mount: &Mount| mount.filesystem == entry.filesystem && mount.source == entry.source;
    let mut last = None;
    for mount in table.of(entry.device) {
        // The number of an anonymous device may have been given to another filesystem.
        if entry.device.is_anonymous() && !is_same(mount) {
            continue;
        }
        match Linux.open(mount) {
            Ok(root) => return Found::Filesystem(root),
            Err(errno) => last = Some(format!("{}: {errno}", mount.point.display())),
        }
    }
    if let Some(error) = last {
        return Found::Unreachable(error);
    }
    if entry.device.is_anonymous() && table.all().any(is_same) {
        return Found::Nothing("it was unmounted, and mounted anew since");
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
