//! Azurite as a process: a real blob server on this host.
//!
//! It prints its access log nowhere and reads its keys once, at start; a key is rotated by [`Azurite::restart`].

use std::{
    fs::{self, File},
    io::{Read as _, Seek as _},
    net::{SocketAddr, TcpStream},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    sync::{Mutex, OnceLock, mpsc},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tempfile::TempDir;
use tokio::net::TcpSocket;

use super::{Authority, Client};

/// On a machine that builds at the same time it takes seconds.
const STARTS_WITHIN: Duration = Duration::from_secs(60);
const STOPS_WITHIN: Duration = Duration::from_secs(10);

/// A storage account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Lower-case letters and digits, as Azure wants it.
    pub name: String,
    /// One or two, Base64.
    pub keys: Vec<String>,
}

impl Account {
    /// With a key of its own.
    pub fn new(name: &str) -> Result<Self> {
        let mut key = [0; 64];
        aws_lc_rs::rand::fill(&mut key).context("no randomness")?;
        Ok(Self {
            name: name.into(),
            keys: vec![STANDARD.encode(key)],
        })
    }

    /// The first key.
    pub fn key(&self) -> &str {
        self.keys.first().map_or("", String::as_str)
    }
}

/// Where the blobs are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// In Azurite's memory, up to so many MiB; gone at a restart.
    Memory(u32),
    /// In a directory that is gone with the server.
    Temporary,
    /// Here.
    Directory(PathBuf),
}

/// A running `azurite-blob`; killed when dropped, and when the process that started it dies in any way.
#[derive(Debug)]
pub struct Azurite {
    authority: Authority,
    accounts: Vec<Account>,
    data: Data,
    directory: TempDir,
    address: SocketAddr,
    /// Holds the port, also while Azurite does not run: bound, so it is given to nobody who asks for a free one, and
    /// not listening, so that Azurite can.
    _port: TcpSocket,
    log: File,
    process: Option<Process>,
}

impl Azurite {
    /// Starts a server on a free port of this host and waits until it listens.
    pub fn start(authority: &Authority, accounts: &[Account], data: Data) -> Result<Self> {
        let port = TcpSocket::new_v4()?;
        port.set_reuseaddr(true)?;
        port.bind(([127, 0, 0, 1], 0).into())?;
        let mut azurite = Self {
            authority: authority.clone(),
            accounts: accounts.to_vec(),
            data,
            directory: tempfile::Builder::new()
                .prefix("stillpoint-azurite-")
                .tempdir()?,
            address: port.local_addr()?,
            _port: port,
            log: tempfile::tempfile()?,
            process: None,
        };
        azurite.run()?;
        Ok(azurite)
    }

    /// One for all tests of a process that need no more than containers of their own: in memory, account `shared`.
    pub fn shared() -> Result<&'static Self> {
        static SHARED: OnceLock<Azurite> = OnceLock::new();
        static STARTING: Mutex<()> = Mutex::new(());
        let _one = STARTING
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(azurite) = SHARED.get() {
            return Ok(azurite);
        }
        let azurite = Self::start(
            &Authority::new()?,
            &[Account::new("shared")?],
            Data::Memory(1024),
        )?;
        // It is never dropped, and it reads its files only once.
        fs::remove_dir_all(azurite.directory.path())?;
        Ok(SHARED.get_or_init(|| azurite))
    }

    /// Stops, and starts on the same port and data with these accounts and keys.
    pub fn restart(&mut self, accounts: &[Account]) -> Result<()> {
        self.stop()?;
        self.accounts = accounts.to_vec();
        self.run()
    }

    /// Ends it as an operator would, so that what was written is there after the next start.
    pub fn stop(&mut self) -> Result<()> {
        match self.process.take() {
            Some(process) => process.stop(),
            None => Ok(()),
        }
    }

    /// Where it listens, whether it runs or not.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// An account's URL.
    pub fn endpoint(&self, account: &str) -> String {
        format!("https://{}/{account}", self.address)
    }

    /// Who signed its certificate.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Its first account.
    pub fn account(&self) -> Result<&Account> {
        self.accounts.first().context("it has no account")
    }

    /// A client with the first account's key.
    pub fn client(&self) -> Result<Client> {
        let account = self.account()?;
        Client::with_key(&self.authority, &self.endpoint(&account.name), account)
    }

    /// The process, while it runs.
    pub fn pid(&self) -> Option<Pid> {
        self.process.as_ref().map(|process| process.pid)
    }

    /// What it has printed.
    pub fn log(&self) -> String {
        let read = || -> std::io::Result<String> {
            let mut log = self.log.try_clone()?;
            log.rewind()?;
            let mut text = Vec::new();
            log.read_to_end(&mut text)?;
            Ok(String::from_utf8_lossy(&text).into_owned())
        };
        read().unwrap_or_default()
    }

    fn run(&mut self) -> Result<()> {
        ensure!(self.process.is_none(), "it runs already");
        let process = Process::start(self.command()?)?;
        let started = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            if let Some(status) = process.ended() {
                bail!("Azurite ended ({status}); it said:\n{}", self.log());
            }
            if started.elapsed() > STARTS_WITHIN {
                bail!("Azurite does not listen; it said:\n{}", self.log());
            }
            thread::sleep(Duration::from_millis(5));
        }
        self.process = Some(process);
        Ok(())
    }

    fn command(&self) -> Result<Command> {
        let program = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../azurite/node_modules/azurite/dist/src/blob/main.js");
        ensure!(
            program.exists(),
            "Azurite is not installed ({} is missing): install it with `make setup`",
            program.display()
        );
        let directory = self.directory.path();
        fs::create_dir_all(directory)?;
        let (certificate, key) = self.authority.server_pem();
        fs::write(directory.join("server.pem"), certificate)?;
        fs::write(directory.join("server.key"), key)?;
        let location = match &self.data {
            Data::Directory(location) => location.clone(),
            Data::Memory(_) | Data::Temporary => directory.join("data"),
        };
        let accounts: Vec<_> = self
            .accounts
            .iter()
            .map(|account| format!("{}:{}", account.name, account.keys.join(":")))
            .collect();

        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "node"])
            .arg(program)
            .args(["--silent", "--disableTelemetry", "--skipApiVersionCheck"])
            .args(["--oauth", "basic", "--blobHost", "127.0.0.1", "--blobPort"])
            .arg(self.address.port().to_string())
            .arg("--cert")
            .arg(directory.join("server.pem"))
            .arg("--key")
            .arg(directory.join("server.key"))
            .arg("--location")
            .arg(location)
            .env("AZURITE_ACCOUNTS", accounts.join(";"))
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(self.log.try_clone()?)
            .stderr(self.log.try_clone()?)
            .process_group(0);
        if let Data::Memory(limit) = self.data {
            command
                .arg("--inMemoryPersistence")
                .arg("--extentMemoryLimit")
                .arg(limit.to_string());
        }
        Ok(command)
    }
}

/// A child with a thread that started it and waits for it: the kernel kills it when that thread ends, so no test's
/// may be it.
#[derive(Debug)]
struct Process {
    pid: Pid,
    waiting: Option<JoinHandle<()>>,
    ended: Mutex<mpsc::Receiver<ExitStatus>>,
}

impl Process {
    fn start(mut command: Command) -> Result<Self> {
        let (started, starting) = mpsc::channel();
        let (ending, ended) = mpsc::channel();
        let waiting = thread::Builder::new()
            .name("azurite".into())
            .spawn(move || match command.spawn() {
                Ok(mut child) => {
                    let _ = started.send(Ok(Pid::from_child(&child)));
                    if let Ok(status) = child.wait() {
                        let _ = ending.send(status);
                    }
                }
                Err(error) => drop(started.send(Err(error))),
            })?;
        let pid = starting.recv()?;
        Ok(Self {
            pid: pid.context("cannot run setpriv (Debian package util-linux)")?,
            waiting: Some(waiting),
            ended: Mutex::new(ended),
        })
    }

    fn ended(&self) -> Option<ExitStatus> {
        self.ended.lock().ok()?.try_recv().ok()
    }

    fn stop(self) -> Result<()> {
        kill_process(self.pid, Signal::TERM)?;
        let ended = self.ended.lock().ok();
        ended
            .and_then(|ended| ended.recv_timeout(STOPS_WITHIN).ok())
            .map(drop)
            .with_context(|| format!("Azurite still runs {STOPS_WITHIN:?} after SIGTERM"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = kill_process_group(self.pid, Signal::KILL);
        if let Some(waiting) = self.waiting.take() {
            let _ = waiting.join();
        }
    }
}
