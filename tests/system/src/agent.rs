//! The node agent as a process, with a socket and a journal of its own.

use std::{
    fs::File,
    io::Write as _,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;

use crate::{kubelet::Kubelet, programs};

const STARTS_WITHIN: Duration = Duration::from_secs(10);

/// A running `stillpoint-agent serve`; told to stop at once when dropped.
#[derive(Debug)]
pub struct Agent {
    process: Child,
    directory: PathBuf,
}

impl Agent {
    /// Starts an agent for `kubelet` that keeps its files in `directory`, and waits for its socket. With a kubeconfig it
    /// is of that cluster too, listening on loopback.
    pub fn start(kubelet: &Kubelet, directory: &Path, kubeconfig: Option<&Path>) -> Result<Self> {
        Self::start_with(kubelet, directory, kubeconfig, &[])
    }

    /// The same with more in its environment.
    pub fn start_with(
        kubelet: &Kubelet,
        directory: &Path,
        kubeconfig: Option<&Path>,
        variables: &[(String, PathBuf)],
    ) -> Result<Self> {
        use std::os::unix::process::CommandExt as _;

        std::fs::create_dir_all(directory)?;
        let log = File::options()
            .create(true)
            .append(true)
            .open(directory.join("agent.log"))?;
        let process = Command::new(programs::program(programs::AGENT)?)
            .args(["serve", "--node-name", kubelet.node(), "--kubelet-root"])
            .arg(kubelet.root())
            .arg("--journal")
            .arg(directory.join("journal"))
            .arg("--socket")
            .arg(directory.join("agent.sock"))
            .env("STILLPOINT_ACCEPT", "velero/velero,velero/stillpoint-gate")
            // It is of no cluster, even where this runs in a pod.
            .env_remove("KUBERNETES_SERVICE_HOST")
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .args(kubeconfig.map(|_| "--listen=127.0.0.1:0"))
            .args(kubeconfig.map(|path| format!("--kubeconfig={}", path.display())))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // A group of its own, to be killed whole, as a container is.
            .process_group(0)
            .spawn()?;
        let agent = Self {
            process,
            directory: directory.to_owned(),
        };
        let started = Instant::now();
        while UnixStream::connect(agent.socket()).is_err() {
            if started.elapsed() > STARTS_WITHIN {
                bail!(
                    "the agent does not listen on its socket; its log:\n{}",
                    agent.log()
                );
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(agent)
    }

    /// Its unix socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.join("agent.sock")
    }

    /// What `stillpoint-agent status --json` says.
    pub fn status(&self) -> Result<Value> {
        let output = Command::new(programs::program(programs::AGENT)?)
            .args(["status", "--json", "--socket"])
            .arg(self.socket())
            .output()?;
        ensure!(output.status.success(), "{output:?}");
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("agent.log")).unwrap_or_default()
    }

    /// Sends a signal to the supervisor alone.
    pub fn signal(&self, signal: Signal) {
        let _ = kill_process(self.pid(), signal);
    }

    /// Sends a signal to the worker alone, the one child that the supervisor has.
    pub fn signal_worker(&self, signal: Signal) -> Result<()> {
        let pid = self.process.id();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
        let worker = children.split_whitespace().next();
        let worker = worker
            .and_then(|pid| Pid::from_raw(pid.parse().ok()?))
            .context("the supervisor has no worker")?;
        Ok(kill_process(worker, signal)?)
    }

    /// Kills supervisor and worker at once, as the end of a container does.
    pub fn kill_container(&mut self) {
        let _ = kill_process_group(self.pid(), Signal::KILL);
        let _ = self.process.wait();
    }

    /// Whether the supervisor has ended.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.process.try_wait(), Ok(None))
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.process)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.signal(Signal::INT);
        let told = Instant::now();
        while told.elapsed() < STARTS_WITHIN {
            match self.process.try_wait() {
                Ok(None) => std::thread::sleep(Duration::from_millis(5)),
                Ok(Some(_)) | Err(_) => break,
            }
        }
        self.kill_container();
        if std::thread::panicking() {
            let _ = writeln!(std::io::stderr(), "the agent's log:\n{}", self.log());
        }
    }
}
