//! A look at a copy of a disk before anything could repair it: is it what a frozen filesystem leaves?

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result};
use stillpoint_loopfs::{Kind, Mounted};

/// What a copy needs before its filesystem is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journal {
    /// The copy is a filesystem as it is; nothing must be replayed.
    pub clean: bool,
    /// What the filesystem's own tool says.
    pub words: String,
}

/// Asks the filesystem's own tool about the journal on `image`. Read before the first mount.
pub fn journal(image: &Path, kind: Kind) -> Result<Journal> {
    match kind {
        Kind::Ext4 => {
            let features = output("dumpe2fs", &["-h"], image)?
                .lines()
                .find_map(|line| line.strip_prefix("Filesystem features:").map(str::to_owned))
                .context("dumpe2fs names no features")?;
            let clean = !features
                .split_whitespace()
                .any(|feature| feature == "needs_recovery");
            let words = if clean {
                "journal empty"
            } else {
                "needs_recovery"
            };
            Ok(Journal {
                clean,
                words: words.into(),
            })
        }
        Kind::Xfs => {
            // A freeze leaves one record of the superblock on purpose, so that a mount looks for
            // unlinked inodes; anything else is metadata that only the log knows.
            let log = output("xfs_logprint", &["-t"], image)?;
            let pending = log
                .lines()
                .filter(|line| line.starts_with("TRANS:"))
                .count();
            let other = [
                "INODE:",
                "BUF DATA",
                "(XAG",
                "EFI:",
                "ICR:",
                "(XD2",
                "DATA FORK",
            ];
            let clean = !log
                .lines()
                .any(|line| other.iter().any(|item| line.contains(item)));
            let words = match clean {
                true => "log empty".to_owned(),
                false => format!("{pending} log records"),
            };
            Ok(Journal { clean, words })
        }
        Kind::Btrfs => {
            let superblock = output("btrfs", &["inspect-internal", "dump-super"], image)?;
            let clean = superblock
                .lines()
                .filter_map(|line| line.strip_prefix("log_root\t"))
                .all(|root| root.trim() == "0");
            let words = if clean {
                "log tree empty"
            } else {
                "log tree to replay"
            };
            Ok(Journal {
                clean,
                words: words.into(),
            })
        }
    }
}

/// Mounts `image` at `mount_point` read-only and without replaying anything.
pub fn mount_as_is(image: &Path, kind: Kind, mount_point: &Path) -> Result<Mounted> {
    let options = match kind {
        Kind::Ext4 => "ro,noload",
        Kind::Xfs => "ro,norecovery,nouuid",
        Kind::Btrfs => "ro,rescue=nologreplay",
    };
    Mounted::image(image, mount_point, options)
}

fn output(program: &str, args: &[&str], image: &Path) -> Result<String> {
    let output = Command::new(program)
        .args(args)
        .arg(image)
        .env("LC_ALL", "C")
        .output()
        .with_context(|| format!("cannot run {program}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
