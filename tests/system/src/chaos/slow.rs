//! Disks that are slow for a while: the throttle of the root control group. dm-delay would need the device mapper, which
//! the kernels of CI lack.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

const THROTTLE: &str = "/sys/fs/cgroup/blkio/blkio.throttle.write_bps_device";
/// Bytes a second: what a writer left dirty takes some hundred milliseconds.
const RATE: u64 = 256 << 10;

/// A block device by its numbers, `7:3`.
#[derive(Clone, Debug)]
pub(super) struct Throttle(String);

impl Throttle {
    /// `None` where the kernel has none.
    pub(super) fn of(device: &Path) -> Result<Option<Self>> {
        if !Path::new(THROTTLE).exists() {
            return Ok(None);
        }
        let name = device.file_name().context("a device has a name")?;
        let numbers = Path::new("/sys/class/block").join(name).join("dev");
        let numbers = fs::read_to_string(&numbers).context("the numbers of a device")?;
        Ok(Some(Self(numbers.trim().to_owned())))
    }

    pub(super) fn slow(&self) -> Result<()> {
        Ok(fs::write(THROTTLE, format!("{} {RATE}", self.0))?)
    }

    pub(super) fn mend(&self) -> Result<()> {
        Ok(fs::write(THROTTLE, format!("{} 0", self.0))?)
    }
}

impl Drop for Throttle {
    fn drop(&mut self) {
        let _ = self.mend();
    }
}
