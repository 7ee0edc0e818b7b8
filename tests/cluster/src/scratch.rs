//! Where a cluster keeps its files, and the address that is its own.

use std::{fs, net::SocketAddr, os::fd::OwnedFd, path::Path, path::PathBuf, process};

use anyhow::{Context as _, Result};
use rustix::{
    fs::statvfs,
    net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, socket_with, sockopt},
};
use tempfile::TempDir;

/// Logs at Velero's debug level and etcd's preallocated files fit.
const ENOUGH_BYTES: u64 = 2 << 30;
const PREFIX: &str = "stillpoint-cluster-";

/// A private directory, in memory where there is room; removed when dropped.
pub(crate) fn directory() -> Result<TempDir> {
    let memory = Path::new("/dev/shm");
    let parent = match statvfs(memory) {
        Ok(about) if about.f_bavail * about.f_frsize >= ENOUGH_BYTES => memory.to_owned(),
        Ok(_) | Err(_) => std::env::temp_dir(),
    };
    remove_orphans(&parent);
    tempfile::Builder::new()
        .prefix(&format!("{PREFIX}{}-", process::id()))
        .tempdir_in(&parent)
        .with_context(|| format!("cannot make a directory in {}", parent.display()))
}

/// What processes that were killed have left.
fn remove_orphans(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        let owner = owner.and_then(|rest| rest.split('-').next());
        if owner.is_some_and(|pid| !PathBuf::from("/proc").join(pid).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// A port of 127.0.0.1, held for as long as this lives; others may listen on it if they share ports (`SO_REUSEPORT`),
/// as kube-apiserver can. Its number is then free on the other loopback addresses too: each part has one of those.
#[derive(Debug)]
pub(crate) struct Port {
    number: u16,
    _held: OwnedFd,
}

impl Port {
    pub(crate) fn hold() -> Result<Self> {
        let socket = socket_with(
            AddressFamily::INET,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )?;
        sockopt::set_socket_reuseport(&socket, true)?;
        bind(&socket, &SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let address = SocketAddr::try_from(getsockname(&socket)?)?;
        Ok(Self {
            number: address.port(),
            _held: socket,
        })
    }

    /// The port on 127.0.0.`host`.
    pub(crate) fn on(&self, host: u8) -> SocketAddr {
        ([127, 0, 0, host], self.number).into()
    }
}
