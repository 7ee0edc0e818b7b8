//! Filesystems in files, mounted through loop devices, thawed and unmounted when dropped.
//!
//! A writer on a frozen filesystem cannot be killed, so every mount has a watchdog: a process that
//! thaws it after [`WATCHDOG`], or when the test dies, whatever becomes of that.

use std::{
    ffi::OsStr,
    fmt,
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

/// A hold lasts 60 s at most; what is frozen after this is frozen by mistake.
const WATCHDOG: Duration = Duration::from_secs(180);
/// A limit is a line of its input, which ends with the process that mounted: thawed then more than once, for what that
/// process had begun to freeze may be frozen only after it died.
const WATCH: &str = r#"while :; do
    read -r -t "$limit" limit
    case $? in
    0) ;;
    1) break ;;
    *) fsfreeze --unfreeze "$0"; read -r limit || break ;;
    esac
done
for pause in 0 1 5; do sleep "$pause"; fsfreeze --unfreeze "$0"; done"#;

/// The filesystems that managed disks carry on Linux.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// ext4
    Ext4,
    /// xfs; at least 300 MiB
    Xfs,
    /// btrfs; at least 110 MiB
    Btrfs,
}

impl Kind {
    /// All of them, for tests that run on each.
    pub const ALL: [Self; 3] = [Self::Ext4, Self::Xfs, Self::Btrfs];

    /// The name that mkfs and mount know.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
        }
    }

    fn mkfs(self) -> &'static [&'static str] {
        match self {
            Self::Ext4 => &["mkfs.ext4", "-q", "-F"],
            Self::Xfs => &["mkfs.xfs", "-q", "-f"],
            Self::Btrfs => &["mkfs.btrfs", "-q", "-f"],
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why loop mounts cannot work here, or `None` if they can. Tests say it and count as skipped.
pub fn missing() -> Option<String> {
    if !Path::new("/dev/loop-control").exists() {
        return Some("no /dev/loop-control: load the kernel module `loop`".into());
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    if !status.lines().any(|line| line.starts_with("Uid:\t0\t")) {
        return Some("loop mounts need root".into());
    }
    ["mkfs.ext4", "mkfs.xfs", "mkfs.btrfs"]
        .iter()
        .find(|tool| Command::new(tool).arg("-V").output().is_err())
        .map(|tool| format!("{tool} is missing: `make setup` installs it"))
}

/// Writes an empty filesystem of `kind` into the sparse file `image`, made or grown to `mebibytes`.
pub fn format(image: &Path, kind: Kind, mebibytes: u64) -> Result<()> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(image)?;
    file.set_len(mebibytes << 20)
        .with_context(|| format!("cannot size {}", image.display()))?;
    let [program, args @ ..] = kind.mkfs() else {
        bail!("no mkfs for {kind}")
    };
    run(
        program,
        args.iter().map(OsStr::new).chain([image.as_os_str()]),
    )
}

/// A mounted image. Dropping it thaws and unmounts the filesystem and frees the loop device.
#[must_use = "dropping the mount unmounts it"]
#[derive(Debug)]
pub struct Mounted {
    mount_point: PathBuf,
    watchdog: Child,
}

impl Mounted {
    /// Mounts `image` at `mount_point` (created if missing) with `options` besides `loop`.
    pub fn image(image: &Path, mount_point: &Path, options: &str) -> Result<Self> {
        fs::create_dir_all(mount_point)?;
        let options = if options.is_empty() {
            "loop".into()
        } else {
            format!("loop,{options}")
        };
        let args = [
            OsStr::new("-o"),
            options.as_ref(),
            image.as_ref(),
            mount_point.as_ref(),
        ];
        run("mount", args)?;
        let watchdog = Command::new("bash")
            .args(["-c", WATCH])
            .arg(mount_point)
            .env("limit", WATCHDOG.as_secs().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self {
            mount_point: mount_point.to_owned(),
            watchdog,
        })
    }

    /// A new filesystem of `kind` in `directory`: the image `<name>.img`, mounted at `<name>`.
    pub fn fresh(directory: &Path, name: &str, kind: Kind) -> Result<Self> {
        let image = directory.join(format!("{name}.img"));
        format(&image, kind, 320)?;
        Self::image(&image, &directory.join(name), "")
    }

    /// From now on the watchdog waits that long, in whole seconds. It cannot see a freeze: one who knows that writes go
    /// on puts it off, so that it does not thaw in the middle of a hold.
    pub fn watch(&mut self, within: Duration) -> Result<()> {
        let input = self.watchdog.stdin.as_mut();
        let input = input.context("the watchdog has no input")?;
        writeln!(input, "{}", within.as_secs()).context("the watchdog has ended")
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.mount_point
    }

    /// The loop device under it, `/dev/loopN`.
    pub fn device(&self) -> Result<PathBuf> {
        let output = Command::new("findmnt")
            .args(["--noheadings", "--output", "SOURCE", "--mountpoint"])
            .arg(&self.mount_point)
            .output()?;
        Ok(String::from_utf8(output.stdout)?
            .lines()
            .next()
            .unwrap_or_default()
            .into())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = self.watchdog.kill();
        let _ = self.watchdog.wait();
        // Not frozen is the usual case, and an error.
        let _ = Command::new("fsfreeze")
            .arg("--unfreeze")
            .arg(&self.mount_point)
            .output();
        if run(
            "umount",
            ["--recursive".as_ref(), self.mount_point.as_os_str()],
        )
        .is_err()
        {
            let _ = run("umount", ["--lazy".as_ref(), self.mount_point.as_os_str()]);
        }
    }
}

fn run<'a>(program: &str, args: impl IntoIterator<Item = &'a OsStr>) -> Result<()> {
    let args: Vec<_> = args.into_iter().collect();
    let output = Command::new(program)
        .args(&args)
        .output()
        .with_context(|| format!("cannot run {program}"))?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        bail!("{program} {args:?}: {}", message.trim());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_frozen_is_thawed_by_the_watchdog() {
        if let Some(why) = missing() {
            eprintln!("SKIPPED: {why}");
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let mut mounted = Mounted::fresh(directory.path(), "frozen", Kind::Ext4).unwrap();
        let file = mounted.path().join("file");
        for content in ["first", "again"] {
            let freeze = ["--freeze".as_ref(), mounted.path().as_os_str()];
            run("fsfreeze", freeze).unwrap();
            mounted.watch(Duration::from_secs(1)).unwrap();
            // Waits for the thaw.
            fs::write(&file, content).unwrap();
        }
    }

    #[test]
    fn each_filesystem_is_mounted_and_gone_afterwards() {
        if let Some(why) = missing() {
            eprintln!("SKIPPED: {why}");
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        for kind in Kind::ALL {
            let mounted = Mounted::fresh(directory.path(), kind.name(), kind).unwrap();
            fs::write(mounted.path().join("file"), b"content").unwrap();
            let device = mounted.device().unwrap();
            assert!(device.starts_with("/dev"), "{kind}: {device:?}");
            let path = mounted.path().to_owned();
            drop(mounted);
            assert!(!path.join("file").exists(), "{kind} is still mounted");
        }
    }
}
