//! What tells one filesystem, one device and one boot from the next of the same number.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use crate::mountinfo::Device;

/// The block device under a filesystem: the superblock's own, or its source's where that is anonymous (btrfs).
pub(crate) fn block_device(device: Device, source: &Path) -> Option<Device> {
    if !device.is_anonymous() {
        return Some(device);
    }
    let number = fs::metadata(source).ok()?.rdev();
    (number != 0).then(|| Device {
        major: rustix::fs::major(number),
        minor: rustix::fs::minor(number),
    })
}

/// The kernel's number for this instance of the block device (Linux 5.15); a partition has its disk's.
pub(crate) fn sequence(block: Device) -> Option<u64> {
    let directory = format!("/sys/dev/block/{block}");
    ["diskseq", "../diskseq"].iter().find_map(|name| {
        let text = fs::read_to_string(Path::new(&directory).join(name)).ok()?;
        text.trim().parse().ok()
    })
}

/// Whether the block device is there at all; unknown without sysfs.
pub(crate) fn is_present(block: Device) -> bool {
    !Path::new("/sys/dev/block").exists() || Path::new(&format!("/sys/dev/block/{block}")).exists()
}

/// The ID of this boot; a freeze does not outlive the kernel.
pub(crate) fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}
