//! The agent in a container of its own, by podman and runc, on a root that has the program and nothing else.

use std::{
    fs,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use stillpoint_system::programs;
use tempfile::TempDir;

const STARTS_WITHIN: Duration = Duration::from_secs(60);
/// Where the chart has the kubelet's directory.
pub(crate) const KUBELET: &str = "/var/lib/kubelet";

/// Why no container can run here.
pub(crate) fn missing() -> Option<String> {
    let found = |program: &&str| Command::new(program).arg("--version").output().is_ok();
    let lacking = ["podman", "runc"].into_iter().find(|tool| !found(tool));
    let lacking = lacking.map(|tool| format!("{tool} is missing: `make setup` installs it"));
    stillpoint_loopfs::missing().or(lacking)
}

/// A running agent; gone when dropped.
pub(crate) struct Container {
    directory: TempDir,
    name: String,
}

impl Container {
    /// Starts it with these flags of `podman run`, and the kubelet's directory with that propagation.
    pub(crate) fn start(flags: &[String], kubelet: &Path, propagation: &str) -> Result<Self> {
        let container = Self {
            directory: tempfile::Builder::new()
                .prefix("stillpoint-container-")
                .tempdir()?,
            name: format!("agent-{}-{}", std::process::id(), fresh()),
        };
        let (root, run) = (container.path("root"), container.path("run"));
        fs::create_dir(&run)?;
        let program = programs::program(programs::AGENT)?;
        prepare(&root, &program)?;
        let mounts = [
            format!("--volume={}:{KUBELET}:{propagation}", kubelet.display()),
            format!("--volume={}:/run/stillpoint:rprivate", run.display()),
            format!("--volume={}:/stillpoint-agent:ro", program.display()),
        ];
        let started = container
            .podman(&["run", "--detach", "--network=none"])
            .arg(format!("--name={}", container.name))
            // As most runtimes limit it, and what any machine allows.
            .args(["--ulimit=memlock=65536:65536", "--ulimit=nofile=1024:1024"])
            .arg("--ulimit=nproc=1024:1024")
            .args(flags)
            .args(mounts)
            .arg("--rootfs")
            .arg(&root)
            .args(["/stillpoint-agent", "serve", "--node-name=node-1"])
            .output()?;
        said(&started)?;
        let begun = Instant::now();
        while UnixStream::connect(container.socket()).is_err() {
            let log = container.log()?;
            ensure!(
                begun.elapsed() < STARTS_WITHIN,
                "the agent does not start: {log}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(container)
    }

    /// Runs a command of the agent's on a path as the container has it; what it says, and whether it was done.
    pub(crate) fn ask(&self, command: &str, path: &Path) -> Result<(bool, String)> {
        let output = Command::new(programs::program(programs::AGENT)?)
            .arg(command)
            .arg(path)
            .arg("--socket")
            .arg(self.socket())
            .output()?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        Ok((output.status.success(), said))
    }

    pub(crate) fn log(&self) -> Result<String> {
        let output = self.podman(&["logs", &self.name]).output()?;
        Ok(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    }

    /// A line of the supervisor's `/proc/…/status`.
    pub(crate) fn status(&self, name: &str) -> Result<String> {
        let inspect = ["inspect", "--format={{.State.Pid}}", &self.name];
        let pid = said(&self.podman(&inspect).output()?)?;
        let status = fs::read_to_string(format!("/proc/{}/status", pid.trim()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        Ok(line
            .context("no such line")?
            .trim_start_matches(':')
            .trim()
            .to_owned())
    }

    fn socket(&self) -> PathBuf {
        self.path("run/agent.sock")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn podman(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("podman");
        command
            .env("STORAGE_DRIVER", "vfs")
            .arg(format!("--root={}", self.path("storage").display()))
            .arg(format!("--runroot={}", self.path("state").display()))
            .args(["--runtime=runc", "--cgroup-manager=cgroupfs"])
            .args(arguments);
        command
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = self
            .podman(&["rm", "--force", "--time=5", &self.name])
            .output();
        // Podman mounts its storage onto itself.
        let storage = self.path("storage/overlay");
        let _ = Command::new("umount").arg("--lazy").arg(storage).output();
    }
}

fn fresh() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Relaxed)
}

/// The directories that a runtime mounts over, and the libraries of `program`.
fn prepare(root: &Path, program: &Path) -> Result<()> {
    for name in [
        "dev",
        "etc",
        "proc",
        "run/stillpoint",
        "sys",
        "tmp",
        "var/lib/kubelet",
    ] {
        fs::create_dir_all(root.join(name))?;
    }
    for name in [
        "stillpoint-agent",
        "etc/hosts",
        "etc/resolv.conf",
        "etc/hostname",
    ] {
        fs::write(root.join(name), "")?;
    }
    let libraries = said(&Command::new("ldd").arg(program).output()?)?;
    let paths = libraries
        .split_whitespace()
        .filter(|word| word.starts_with('/'));
    for library in paths {
        let copy = root.join(library.trim_start_matches('/'));
        fs::create_dir_all(copy.parent().context("a file is in a directory")?)?;
        fs::copy(library, copy)?;
    }
    Ok(())
}

fn said(output: &Output) -> Result<String> {
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {error}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
