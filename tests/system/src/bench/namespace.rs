//! A network and mount namespace in which the public cloud's names lead to this machine.

use std::{env, fs, net::SocketAddr, os::unix::process::CommandExt as _, process::Command};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

const INSIDE: &str = "STILLPOINT_BENCH_INSIDE";
const NAMES: &str = "127.0.0.1 localhost management.azure.com login.microsoftonline.com\n";

/// The namespace as it was prepared.
#[derive(Debug)]
pub(super) struct Namespace {
    _hosts: TempDir,
}

pub(super) fn is_inside() -> bool {
    env::var_os(INSIDE).is_some()
}

/// Starts this program again, in namespaces of its own; returns only if that fails.
pub(super) fn enter() -> Result<()> {
    let error = Command::new("unshare")
        .args(["--mount", "--net", "--propagation", "private", "--"])
        .arg(env::current_exe()?)
        .env(INSIDE, "1")
        .exec();
    Err(error).context("cannot run unshare")
}

pub(super) fn prepare() -> Result<Namespace> {
    let directory = tempfile::tempdir()?;
    let hosts = directory.path().join("hosts");
    fs::write(&hosts, NAMES)?;
    run(Command::new("ip").args(["link", "set", "lo", "up"]))?;
    run(Command::new("mount")
        .arg("--bind")
        .arg(&hosts)
        .arg("/etc/hosts"))?;
    Ok(Namespace { _hosts: directory })
}

impl Namespace {
    /// Where the names lead.
    pub(super) fn https(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 443))
    }
}

fn run(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot run {command:?}"))?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(())
}
