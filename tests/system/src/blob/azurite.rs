//! Azurite as a process: a real blob server on this host.
//!
//! It prints its access log nowhere and reads its keys once, at start; a key is rotated by [`Azurite::restart`].

use std::{
    fmt,
    fs::{self, File},
    io::{Read as _, Seek as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, OnceLock, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustix::process::Pid;
use tempfile::TempDir;
use tokio::net::TcpSocket;

use super::{Authority, Client, process::Process};

/// On a machine that builds at the same time it takes seconds.
const STARTS_WITHIN: Duration = Duration::from_secs(60);

/// A storage account.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    /// Lower-case letters and digits, as Azure wants it.
    pub name: String,
    /// One or two, Base64.
    pub keys: Vec<String>,
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Account({})", self.name)
    }
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

/// What it takes. A wrong key is refused as Azure does it, with 403, by [`Logins::Keys`] only: one that takes tokens
/// answers 400, `InvalidAuthenticationInfo`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logins {
    /// And signed URLs.
    Keys,
    /// These, and tokens by their claims alone.
    KeysAndTokens,
}

/// A running `azurite-blob`; killed when dropped, and when the process that started it dies in any way.
#[derive(Debug)]
pub struct Azurite {
    /// Ends before its directory is removed.
    process: Option<Process>,
    authority: Authority,
    accounts: Vec<Account>,
    logins: Logins,
    data: Data,
    directory: TempDir,
    address: SocketAddr,
    /// Holds the port, also while Azurite does not run: bound, so it is given to nobody who asks for a free one, and
    /// not listening, so that Azurite can.
    _port: TcpSocket,
    log: File,
}

impl Azurite {
    /// Starts a server on a free port of this host and waits until it listens.
    pub fn start(
        authority: &Authority,
        accounts: &[Account],
        logins: Logins,
        data: Data,
    ) -> Result<Self> {
        let port = TcpSocket::new_v4()?;
        port.set_reuseaddr(true)?;
        port.bind(([127, 0, 0, 1], 0).into())?;
        let mut azurite = Self {
            authority: authority.clone(),
            accounts: accounts.to_vec(),
            logins,
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
        let _one = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(azurite) = SHARED.get() {
            return Ok(azurite);
        }
        let azurite = Self::start(
            &Authority::new()?,
            &[Account::new("shared")?],
            Logins::KeysAndTokens,
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
            Some(process) => process.stop().context("Azurite"),
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
        self.process.as_ref().map(Process::pid)
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
        let accounts: Vec<_> = self
            .accounts
            .iter()
            .map(|account| format!("{}:{}", account.name, account.keys.join(":")))
            .collect();

        let mut command = Process::command("node");
        command
            .arg(program)
            .args(["--silent", "--disableTelemetry", "--skipApiVersionCheck"])
            .args(["--blobHost", "127.0.0.1", "--blobPort"])
            .arg(self.address.port().to_string())
            .arg("--cert")
            .arg(directory.join("server.pem"))
            .arg("--key")
            .arg(directory.join("server.key"))
            .env("AZURITE_ACCOUNTS", accounts.join(";"))
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(self.log.try_clone()?)
            .stderr(self.log.try_clone()?);
        if self.logins == Logins::KeysAndTokens {
            command.args(["--oauth", "basic"]);
        }
        match &self.data {
            Data::Memory(limit) => command
                .args(["--inMemoryPersistence", "--extentMemoryLimit"])
                .arg(limit.to_string()),
            Data::Temporary => command.arg("--location").arg(directory.join("data")),
            Data::Directory(location) => command.arg("--location").arg(location),
        };
        Ok(command)
    }
}
