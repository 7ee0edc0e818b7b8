//! A network and mount namespace in which the public cloud's names lead to this machine, for the stock plugin, which
//! knows no others. A program starts itself again in it.

use std::{env, fs, net::SocketAddr, process::Command};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

const INSIDE: &str = "STILLPOINT_INSIDE";
const NAMES: &str = "127.0.0.1 localhost management.azure.com login.microsoftonline.com\n";

/// The namespace as it was prepared.
#[derive(Debug)]
pub struct Namespace {
    _hosts: TempDir,
}

/// Whether this program was started by [`command`].
pub fn is_inside() -> bool {
    env::var_os(INSIDE).is_some()
}

/// This program again, in namespaces of its own; it dies with the thread that starts it.
pub fn command() -> Result<Command> {
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "unshare"])
        .args(["--mount", "--net", "--propagation", "private", "--"])
        .arg(env::current_exe()?)
        .env(INSIDE, "1");
    Ok(command)
}

/// Prepares the namespaces that this program is inside of.
pub fn prepare() -> Result<Namespace> {
    ensure!(is_inside(), "the machine's own hosts file stays as it is");
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
    pub fn https(&self) -> SocketAddr {
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
