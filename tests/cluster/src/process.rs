//! A program as a process: its log in a file, its end with ours.

use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{LazyLock, mpsc},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::time::{Instant, sleep, timeout_at};

const POLL: Duration = Duration::from_millis(20);
const TAIL: usize = 20;

/// A process that can be started again; killed with all that it started when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    name: &'static str,
    command: Vec<OsString>,
    variables: Vec<(OsString, OsString)>,
    directory: PathBuf,
    /// What it gets when the process that started it dies.
    last_signal: &'static str,
    child: Option<Child>,
}

impl Process {
    /// One that is not started yet. It will log to `<name>.log` in `directory`.
    pub(crate) fn new(name: &'static str, directory: &Path, program: PathBuf) -> Self {
        Self {
            name,
            command: vec![program.into()],
            variables: Vec::new(),
            directory: directory.to_owned(),
            last_signal: "KILL",
            child: None,
        }
    }

    pub(crate) fn arguments<A: Into<OsString>>(
        mut self,
        more: impl IntoIterator<Item = A>,
    ) -> Self {
        self.command.extend(more.into_iter().map(Into::into));
        self
    }

    pub(crate) fn variable(mut self, key: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.variables.push((key.into(), value.into()));
        self
    }

    /// For a program that has processes of its own to end: SIGTERM if the process that started it dies.
    pub(crate) fn asked_to_end(mut self) -> Self {
        self.last_signal = "TERM";
        self
    }

    pub(crate) fn start(&mut self) -> Result<()> {
        self.kill();
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_file())?;
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", self.last_signal, "--"])
            .args(&self.command)
            .envs(self.variables.iter().map(|(key, value)| (key, value)))
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // To be killed whole, as a container is.
            .process_group(0);
        let child = spawn(command).with_context(|| format!("cannot start {}", self.name))?;
        self.child = Some(child);
        Ok(())
    }

    /// Waits until `probe` succeeds; fails with the log's end if the process exits before, or is not ready in time.
    pub(crate) async fn ready(
        &mut self,
        within: Duration,
        mut probe: impl AsyncFnMut() -> Result<()>,
    ) -> Result<()> {
        let deadline = Instant::now() + within;
        loop {
            let answer = timeout_at(deadline, probe()).await;
            if let Ok(Ok(())) = answer {
                return Ok(());
            }
            let name = self.name;
            let ended = match &mut self.child {
                Some(child) => child.try_wait()?.map(|status| status.to_string()),
                None => Some("was not started".into()),
            };
            if let Some(how) = ended {
                bail!("{name} ended ({how}); the end of its log:\n{}", self.tail());
            }
            if Instant::now() >= deadline {
                let why = answer
                    .map_err(|_| anyhow!("no answer"))
                    .and_then(|tried| tried)
                    .err();
                let message = format!(
                    "{name} is not ready after {within:?}; the end of its log:\n{}",
                    self.tail()
                );
                return Err(why.unwrap_or_else(|| anyhow!("not ready")).context(message));
            }
            sleep(POLL).await;
        }
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> Result<bool> {
        let ended = self.child.as_mut().map(Child::try_wait).transpose()?;
        Ok(ended.flatten().is_some())
    }

    /// Ends it at once, with the processes that it started.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
            let _ = child.wait();
        }
    }

    /// Sends a signal to it and to the processes that it started.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        let Some(child) = &self.child else {
            bail!("{} does not run", self.name)
        };
        Ok(kill_process_group(Pid::from_child(child), signal)?)
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// All that it has logged, over all its starts.
    pub(crate) fn log(&self) -> String {
        let log = fs::read(self.log_file()).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    fn log_file(&self) -> PathBuf {
        self.directory.join(format!("{}.log", self.name))
    }

    fn tail(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(TAIL)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            eprintln!("the end of the log of {}:\n{}", self.name, self.tail());
        }
    }
}

/// Starts it from a thread that lives as long as we do: the kernel sends the signal for a parent's death when the
/// thread that started the process ends, and a test's thread can end before those who share its cluster.
fn spawn(command: Command) -> io::Result<Child> {
    type Order = (Command, mpsc::Sender<io::Result<Child>>);
    static ORDERS: LazyLock<mpsc::Sender<Order>> = LazyLock::new(|| {
        let (orders, queue) = mpsc::channel::<Order>();
        thread::spawn(move || {
            for (mut command, started) in queue {
                let _ = started.send(command.spawn());
            }
        });
        orders
    });
    let (started, result) = mpsc::channel();
    let gone = || io::Error::other("the thread that starts processes is gone");
    ORDERS.send((command, started)).map_err(|_| gone())?;
    result.recv().map_err(|_| gone())?
}
