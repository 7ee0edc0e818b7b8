//! Velero's server and command line, as processes beside the cluster.

use std::{fs, path::PathBuf, process::Stdio, time::Duration};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::process::Command;

use crate::{Cluster, process::Process, programs};

const STARTS_WITHIN: Duration = Duration::from_secs(120);

/// How Velero's server is run.
#[derive(Clone, Debug)]
pub struct VeleroOptions {
    /// Its namespace.
    pub namespace: String,
    /// Where its plugins are; `None`: it has none.
    pub plugins: Option<PathBuf>,
    /// More flags, such as `--item-block-worker-count=8`. It hands them to plugins too.
    pub flags: Vec<String>,
    /// Its environment, and its plugins', besides ours.
    pub variables: Vec<(String, String)>,
}

impl Default for VeleroOptions {
    fn default() -> Self {
        Self {
            namespace: "velero".into(),
            plugins: None,
            flags: Vec::new(),
            variables: Vec::new(),
        }
    }
}

/// A Velero server, killed with its plugins when dropped; drop it before its cluster.
pub struct Velero {
    server: Process,
    program: PathBuf,
    kubeconfig: PathBuf,
    namespace: String,
    home: PathBuf,
}

/// Runs Velero's command line where it needs no cluster: `velero install --dry-run …`.
pub async fn velero(arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(programs::path("velero").await?);
    output(command.args(arguments).stdin(Stdio::null())).await
}

impl Cluster {
    /// Installs Velero's custom resources, starts its server and waits until that answers.
    pub async fn start_velero(&self, options: VeleroOptions) -> Result<Velero> {
        let program = programs::path("velero").await?;
        let namespace = options.namespace;
        let home = self.directory().join("velero");
        let no_plugins = home.join("plugins");
        fs::create_dir_all(&no_plugins)?;
        let plugins = options.plugins.unwrap_or(no_plugins);
        let mut server = Process::new("velero", self.directory(), program.clone())
            .asked_to_end()
            .arguments(["server", "--kubeconfig"])
            .arguments([self.kubeconfig()])
            .arguments(["--namespace", &namespace, "--plugin-dir"])
            .arguments([plugins])
            .arguments([
                format!("--metrics-address={}", self.place.port.on(7)),
                format!("--profiler-address={}", self.place.port.on(8)),
            ])
            .arguments(options.flags)
            // What it collects for a backup, and the credentials of its locations.
            .variable("TMPDIR", &home)
            .variable("HOME", &home);
        for (key, value) in options.variables {
            server = server.variable(key, value);
        }
        let mut velero = Velero {
            server,
            program,
            kubeconfig: self.kubeconfig(),
            namespace,
            home,
        };
        velero.cli(&["install", "--crds-only"]).await?;
        self.apply(json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": velero.namespace },
        }))
        .await?;
        self.apply(deployment(&velero.namespace)).await?;
        velero.start().await?;
        Ok(velero)
    }
}

impl Velero {
    /// Starts the server, again if it was killed or still runs, and waits until it answers.
    pub async fn start(&mut self) -> Result<()> {
        self.server.start()?;
        let mut ask = self.command(&["version", "--timeout=5s"]);
        self.server
            .ready(STARTS_WITHIN, async || {
                let said = output(&mut ask).await?;
                // A server that does not answer is no failure to this command.
                ensure!(said.contains("Server:"), "{said}");
                Ok(())
            })
            .await
    }

    /// Kills the server and its plugins, as the end of their container does.
    pub fn kill(&mut self) {
        self.server.kill();
    }

    /// Whether the server has ended by itself.
    pub fn has_ended(&mut self) -> Result<bool> {
        self.server.has_ended()
    }

    /// The process IDs of its plugins.
    pub fn plugins(&self) -> Vec<u32> {
        let Some(server) = self.server.pid() else {
            return Vec::new();
        };
        let threads = fs::read_dir(format!("/proc/{server}/task"));
        let children = threads.into_iter().flatten().flatten();
        let children =
            children.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
        let children: String = children.collect();
        let pids = children.split_whitespace();
        pids.filter_map(|pid| pid.parse().ok()).collect()
    }

    /// Kills the processes that run this plugin; the server starts another when it needs one.
    pub fn kill_plugin(&self, program: &str) -> Result<()> {
        let runs = |pid: &u32| {
            let path = fs::read_link(format!("/proc/{pid}/exe"));
            path.is_ok_and(|path| path.ends_with(program))
        };
        let mut killed = 0;
        for pid in self.plugins().into_iter().filter(runs) {
            let pid = Pid::from_raw(pid.try_into()?).context("a process has a number")?;
            kill_process(pid, Signal::KILL)?;
            killed += 1;
        }
        ensure!(killed > 0, "{program} does not run");
        Ok(())
    }

    /// What the server and its plugins have logged.
    pub fn log(&self) -> String {
        self.server.log()
    }

    /// Runs Velero's command line, `velero backup create …`, and returns what it prints.
    pub async fn cli(&self, arguments: &[&str]) -> Result<String> {
        output(&mut self.command(arguments)).await
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .args(["--namespace", &self.namespace])
            .env("HOME", &self.home)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }
}

async fn output(command: &mut Command) -> Result<String> {
    let output = command.output().await.context("cannot run velero")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        output.status.success(),
        "{:?}: {}\n{said}{}",
        command.as_std(),
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(said)
}

/// Velero reads its own Deployment when it restores pods, for the image of its restore helper.
fn deployment(namespace: &str) -> serde_json::Value {
    let labels = json!({ "component": "velero" });
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": "velero", "namespace": namespace, "labels": labels },
        "spec": {
            "replicas": 0,
            "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": { "containers": [{ "name": "velero", "image": "velero/velero" }] },
            },
        },
    })
}
