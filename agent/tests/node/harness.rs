//! A node of its own for each test: a kubelet's directory with mounted volumes, and the agent as a process. Dropped, it
//! kills the agent and then thaws and unmounts everything, whatever the test left.

use std::{
    fs,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use stillpoint_loopfs::{Kind, Mounted, format, missing};
use stillpoint_proto::agent::{StatusRequest, StatusResponse, agent_client::AgentClient};
use tempfile::TempDir;
use tonic::transport::Channel;

pub(crate) use crate::{
    client::{Hold, connect},
    writer::Writer,
};

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not in {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

pub(crate) fn disk(name: &str) -> String {
    format!("/subscriptions/5/resourceGroups/Rg/providers/Microsoft.Compute/disks/{name}")
}

/// A mounted volume of the node.
pub(crate) struct Volume {
    pub(crate) handle: String,
    pub(crate) mounted: Mounted,
    pub(crate) image: PathBuf,
}

impl Volume {
    pub(crate) fn path(&self) -> &Path {
        self.mounted.path()
    }

    pub(crate) fn is_frozen(&self) -> bool {
        is_frozen(self.path())
    }
}

/// Only a freeze can tell; one that succeeds is undone.
pub(crate) fn is_frozen(path: &Path) -> bool {
    let freeze = run("fsfreeze", &["--freeze".as_ref(), path.as_os_str()]);
    if freeze.status.success() {
        run("fsfreeze", &["--unfreeze".as_ref(), path.as_os_str()]);
        return false;
    }
    let message = String::from_utf8_lossy(&freeze.stderr).into_owned();
    assert!(message.contains("busy"), "{}: {message}", path.display());
    true
}

pub(crate) fn run(program: &str, args: &[&std::ffi::OsStr]) -> Output {
    Command::new(program).args(args).output().unwrap()
}

/// Freezes or thaws behind the agent's back.
pub(crate) fn fsfreeze(how: &str, path: &Path) {
    let output = run("fsfreeze", &[how.as_ref(), path.as_os_str()]);
    assert!(
        output.status.success(),
        "{how} {}: {output:?}",
        path.display()
    );
}

/// The node. Fields are dropped in their order: the agent before the volumes.
pub(crate) struct Node {
    agent: Option<Child>,
    pub(crate) volumes: Vec<Volume>,
    pub(crate) directory: TempDir,
}

impl Node {
    /// A node with a running agent and one volume of each kind; `None` where that cannot be, said loudly.
    pub(crate) fn with(kinds: &[Kind]) -> Option<Self> {
        let mut node = Self::prepared(kinds)?;
        node.start();
        Some(node)
    }

    /// The same without the agent.
    pub(crate) fn prepared(kinds: &[Kind]) -> Option<Self> {
        if let Some(why) = missing() {
            eprintln!("SKIPPED: {why}");
            return None;
        }
        let mut node = Self {
            agent: None,
            volumes: Vec::new(),
            directory: tempfile::tempdir().unwrap(),
        };
        for (number, kind) in kinds.iter().enumerate() {
            node.add(&format!("Disk-{number}"), *kind, "");
        }
        Some(node)
    }

    pub(crate) fn kubelet(&self) -> PathBuf {
        self.directory.path().join("kubelet")
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.directory.path().join("journal")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("agent.sock")
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// Names of journal entries.
    pub(crate) fn entries(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(self.journal()).unwrap();
        let paths = files.map(|file| file.unwrap().path());
        paths
            .filter(|path| path.ends_with("freeze") || path.extension().is_some())
            .collect()
    }

    /// Mounts a new volume where the kubelet stages it.
    pub(crate) fn add(&mut self, name: &str, kind: Kind, options: &str) -> &Volume {
        let image = self.directory.path().join(format!("{name}.img"));
        format(&image, kind, 320).unwrap();
        let handle = disk(name);
        let staging = self.staging(name);
        record(&staging, &handle);
        let mounted = Mounted::image(&image, &staging.join("globalmount"), options).unwrap();
        self.volumes.push(Volume {
            handle,
            mounted,
            image,
        });
        self.volumes.last().unwrap()
    }

    pub(crate) fn staging(&self, name: &str) -> PathBuf {
        self.kubelet()
            .join("plugins/kubernetes.io/csi/disk.csi.azure.com")
            .join(name)
    }

    pub(crate) fn command(&self, arg: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stillpoint-agent"));
        command.arg(arg).arg("--socket").arg(self.socket());
        command
    }

    /// In a process group of its own, and with the node's log.
    fn detached(&self, command: &mut Command) {
        let mut log = fs::File::options();
        let log = log
            .create(true)
            .append(true)
            .open(self.directory.path().join("log"));
        command
            .stdin(Stdio::null())
            .stderr(log.unwrap())
            .process_group(0);
    }

    pub(crate) fn serve(&self) -> Command {
        let mut command = self.command("serve");
        command
            .arg("--kubelet-root")
            .arg(self.kubelet())
            .arg("--journal")
            .arg(self.journal())
            // These nodes are of no cluster, even where the tests run in a pod.
            .env_remove("KUBERNETES_SERVICE_HOST");
        self.detached(&mut command);
        command
    }

    /// Starts the agent and waits until it answers.
    pub(crate) fn start(&mut self) {
        self.start_with(|_| {});
    }

    /// The same with more options.
    pub(crate) fn start_with(&mut self, options: impl FnOnce(&mut Command)) {
        fs::create_dir_all(self.kubelet()).unwrap();
        let before = self.starts();
        let mut command = self.serve();
        options(&mut command);
        self.detached(&mut command);
        self.agent = Some(command.spawn().unwrap());
        self.answers(before + 1);
    }

    /// How many workers have opened their doors so far.
    pub(crate) fn starts(&self) -> usize {
        self.log().matches("INFO ready").count()
    }

    /// Waits until the worker of that number answers.
    pub(crate) fn answers(&self, start: usize) {
        eventually("the agent answers", || self.starts() >= start);
    }

    pub(crate) fn supervisor(&self) -> Pid {
        let id = self.agent.as_ref().unwrap().id();
        Pid::from_raw(i32::try_from(id).unwrap()).unwrap()
    }

    /// The process that the supervisor runs at this moment.
    pub(crate) fn worker(&self) -> Option<Pid> {
        let parent = self.supervisor().as_raw_nonzero().to_string();
        fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            let line = fs::read(entry.path().join("cmdline")).ok()?;
            let ppid = stat.rsplit(')').next()?.split_whitespace().nth(1)?;
            let is_worker = line.split(|byte| *byte == 0).any(|arg| arg == b"worker");
            let pid = entry.file_name().to_str()?.parse().ok()?;
            (ppid == parent && is_worker).then(|| Pid::from_raw(pid))?
        })
    }

    pub(crate) fn signal_worker(&self, signal: Signal) {
        kill_process(self.worker().expect("a worker runs"), signal).unwrap();
    }

    /// Ends both processes at once, as the end of their container does.
    pub(crate) fn kill_all(&mut self) {
        let worker = self.worker();
        kill_process_group(self.supervisor(), Signal::KILL).unwrap();
        self.agent.take().unwrap().wait().unwrap();
        if let Some(worker) = worker {
            eventually("the worker is dead", || is_dead(worker));
        }
    }

    /// Tells the supervisor to end and waits for it.
    pub(crate) fn terminate(&mut self) -> std::process::ExitStatus {
        kill_process(self.supervisor(), Signal::TERM).unwrap();
        self.agent.take().unwrap().wait().unwrap()
    }

    pub(crate) async fn client(&self) -> AgentClient<Channel> {
        connect(&self.socket()).await
    }

    pub(crate) async fn status(&self) -> StatusResponse {
        let mut client = self.client().await;
        client.status(StatusRequest {}).await.unwrap().into_inner()
    }

    /// Holds all volumes of the node.
    pub(crate) async fn hold_all(&self, limit: Duration) -> Hold {
        let handles: Vec<_> = self.volumes.iter().map(|v| v.handle.as_str()).collect();
        Hold::begin(&mut self.client().await, &handles, limit)
            .await
            .unwrap()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if self.agent.is_some() {
            self.kill_all();
        }
        if thread::panicking() {
            eprintln!("--- the agent's log\n{}---", self.log());
        }
    }
}

/// Gone, or all but its exit status.
pub(crate) fn is_dead(process: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero()));
    stat.is_ok_and(|stat| stat.contains(") Z ")) || kill_process(process, Signal::CONT).is_err()
}

/// The kubelet's record of a CSI volume.
pub(crate) fn record(directory: &Path, handle: &str) {
    fs::create_dir_all(directory).unwrap();
    let data = serde_json::json!({
        "driverName": "disk.csi.azure.com", "volumeHandle": handle, "specVolID": "pv", "nodeName": "node",
    });
    fs::write(directory.join("vol_data.json"), data.to_string()).unwrap();
}
