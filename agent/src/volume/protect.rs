//! The filesystems that must never be frozen: the node, the runtime or this agent would wait for themselves.

use std::{
    os::fd::{AsFd, BorrowedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{self, Mode, OFlags},
    io::Errno,
};

use crate::{
    error::HoldError,
    kernel,
    mountinfo::{Device, Mount, MountTable},
};

/// Where container runtimes keep images, containers and sockets unless told otherwise.
const RUNTIMES: [&str; 8] = [
    "/var/lib/containerd",
    "/run/containerd",
    "/var/lib/docker",
    "/var/run/docker",
    "/var/lib/containers",
    "/var/lib/crio",
    "/run/crio",
    "/var/log",
];

/// Paths whose filesystems are protected.
#[derive(Clone, Debug)]
pub(crate) struct Protected {
    paths: Vec<(PathBuf, String)>,
}

impl Protected {
    pub(crate) fn new(kubelet_root: &Path, journal: &Path, socket: &Path) -> Self {
        let mut paths = vec![
            (PathBuf::from("/"), "/".to_owned()),
            (
                kubelet_root.to_owned(),
                format!("the kubelet ({})", kubelet_root.display()),
            ),
            (
                journal.to_owned(),
                format!("the agent's journal ({})", journal.display()),
            ),
            (
                socket.parent().unwrap_or(socket).to_owned(),
                format!("the agent's socket ({})", socket.display()),
            ),
            (
                "/proc/self/exe".into(),
                "the agent's own program".to_owned(),
            ),
        ];
        for path in RUNTIMES {
            paths.push((path.into(), format!("the node's containers ({path})")));
        }
        Self { paths }
    }

    /// The protected filesystems as they are mounted now, each with why.
    pub(crate) fn devices(&self, table: &MountTable) -> Vec<(Device, String)> {
        let mut devices = Vec::new();
        for (path, because) in &self.paths {
            // Most runtimes are not on this node.
            if let Ok(mount) = mount_of(table, path) {
                devices.push((mount.device, because.clone()));
            }
        }
        // A log line that goes to a file on a frozen filesystem would block the agent.
        for stream in [std::io::stdout().as_fd(), std::io::stderr().as_fd()] {
            if let Ok(mount) = mount_of_fd(table, stream) {
                devices.push((mount.device, "the agent's log".to_owned()));
            }
        }
        devices
    }
}

/// Refuses `mount` if its filesystem is among the protected `devices`. A volume has a filesystem of its own, so it is
/// not touched by being mounted below the kubelet's root.
pub(crate) fn check(devices: &[(Device, String)], mount: &Mount) -> Result<(), HoldError> {
    match devices.iter().find(|(device, _)| *device == mount.device) {
        Some((device, because)) => Err(HoldError::Protected {
            mount_point: mount.point.clone(),
            device: *device,
            because: because.clone(),
        }),
        None => Ok(()),
    }
}

/// The mount on which `path` lies.
pub(crate) fn mount_of<'a>(table: &'a MountTable, path: &Path) -> Result<&'a Mount, Errno> {
    let fd = fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    mount_of_fd(table, fd.as_fd())
}

fn mount_of_fd<'a>(table: &'a MountTable, fd: BorrowedFd<'_>) -> Result<&'a Mount, Errno> {
    table.by_id(kernel::mount_id(fd)?).ok_or(Errno::STALE)
}
