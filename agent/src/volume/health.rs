//! Whether a freeze can make the filesystem's snapshot consistent: it must be writable and without errors.

use std::{fs, path::Path};

use crate::{
    error::HoldError,
    mountinfo::{Device, Mount},
};

/// Refuses what is in an error state or read-only.
///
/// Only the superblock's state counts: a read-only mount of a writable filesystem stops no other mount's writers,
/// and a read-only superblock with a dirty journal freezes without becoming clean.
pub(crate) fn check(mount: &Mount) -> Result<(), HoldError> {
    if let Some(detail) = error_state(mount) {
        return Err(HoldError::Unhealthy {
            mount_point: mount.point.clone(),
            device: mount.device,
            detail,
        });
    }
    if mount.has_option("ro") {
        return Err(HoldError::ReadOnly {
            mount_point: mount.point.clone(),
            device: mount.device,
            detail: "a freeze could not make it consistent",
        });
    }
    Ok(())
}

fn error_state(mount: &Mount) -> Option<String> {
    for option in ["emergency_ro", "shutdown"] {
        if mount.has_option(option) {
            return Some(format!("it is mounted `{option}`"));
        }
    }
    if !matches!(mount.filesystem.as_str(), "ext2" | "ext3" | "ext4") {
        // xfs and btrfs answer EIO or EROFS to syncfs and FIFREEZE when they are shut down.
        return None;
    }
    match ext4_errors(mount.device)? {
        0 => None,
        errors => Some(format!(
            "ext4 has recorded {errors} error{}; run e2fsck",
            if errors == 1 { "" } else { "s" }
        )),
    }
}

/// What the superblock counts since the last fsck (`/sys/fs/ext4/<name>/errors_count`), if it can be known.
fn ext4_errors(device: Device) -> Option<u64> {
    let block = fs::read_link(format!("/sys/dev/block/{device}")).ok()?;
    let name = block.file_name()?;
    let count =
        fs::read_to_string(Path::new("/sys/fs/ext4").join(name).join("errors_count")).ok()?;
    count.trim().parse().ok()
}
