//! From a program to a running plugin, in go-plugin's order.

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use thiserror::Error;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

use super::{
    connect::ConnectError,
    handshake::{Handshake, HandshakeError},
    logs::{Entry, Logs},
    plugin::Plugin,
    tls::Identity,
};

/// How a program is started.
#[derive(Clone, Debug)]
pub struct Host {
    program: PathBuf,
    arguments: Vec<OsString>,
    variables: Vec<(OsString, OsString)>,
    tls: TlsMode,
    patience: Duration,
}

/// What the host does about TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsMode {
    /// Nothing, as Velero.
    #[default]
    Off,
    /// go-plugin's AutoMTLS.
    Mutual,
    /// Announces one certificate and connects with another: what somebody else on the machine could do.
    Impostor,
}

/// The plugin did not start, or could not be spoken with.
#[derive(Debug, Error)]
pub enum StartError {
    /// No process.
    #[error("cannot start {}", program.display())]
    Spawn {
        /// What should have been started.
        program: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It ended instead.
    #[error("the plugin ended with {status} before its handshake: {log:?}")]
    Exited {
        /// How.
        status: ExitStatus,
        /// What it said.
        log: Vec<Entry>,
    },
    /// It did nothing.
    #[error("no handshake in {0:?}")]
    Timeout(Duration),
    /// It said something else.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// It speaks something else.
    #[error("the plugin speaks version {0}, this host version 2")]
    Version(u32),
    /// Its pipes, or its directory for temporary files.
    #[error("cannot prepare for the plugin, or read from it")]
    Read(#[from] io::Error),
    /// Ours.
    #[error("cannot make a certificate")]
    Certificate(#[from] rcgen::Error),
    /// Its socket.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

impl Host {
    /// Starts `program` as Velero does, without arguments.
    pub fn new(program: impl AsRef<Path>) -> Self {
        let variables = [
            ("VELERO_PLUGIN", "hello"),
            ("PLUGIN_PROTOCOL_VERSIONS", "2"),
            ("PLUGIN_MIN_PORT", "10000"),
            ("PLUGIN_MAX_PORT", "25000"),
        ];
        Self {
            program: program.as_ref().to_owned(),
            arguments: Vec::new(),
            variables: variables
                .map(|(key, value)| (key.into(), value.into()))
                .into(),
            tls: TlsMode::Off,
            patience: Duration::from_secs(20),
        }
    }

    /// One more argument.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// A variable of the environment; the last one of a name counts.
    #[must_use]
    pub fn variable(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// With or without.
    #[must_use]
    pub fn tls(mut self, tls: TlsMode) -> Self {
        self.tls = tls;
        self
    }

    /// Starts it, reads its handshake, connects.
    ///
    /// # Errors
    /// If the plugin does not get as far; it is killed then.
    pub async fn start(&self) -> Result<Plugin, StartError> {
        let begun = Instant::now();
        let identity = match self.tls {
            TlsMode::Off => None,
            TlsMode::Mutual | TlsMode::Impostor => Some(Identity::new()?),
        };
        // What a killed plugin leaves behind goes with it.
        let directory = tempfile::tempdir()?;
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .env("TMPDIR", directory.path())
            .envs(self.variables.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        if let Some(identity) = &identity {
            command.env("PLUGIN_CLIENT_CERT", identity.pem());
        }
        let mut child = command.spawn().map_err(|source| StartError::Spawn {
            program: self.program.clone(),
            source,
        })?;
        let pipe = || io::Error::other("the process has no pipe");
        let stdout = child.stdout.take().ok_or_else(pipe)?;
        let logs = Logs::read(child.stderr.take().ok_or_else(pipe)?);

        let handshake = self.handshake(&mut child, stdout, &logs).await?;
        let identity = match self.tls {
            TlsMode::Off | TlsMode::Mutual => identity,
            TlsMode::Impostor => Some(Identity::new()?),
        };
        let channel = handshake.connect(identity.as_ref()).await?;
        Ok(Plugin::new(child, directory, handshake, channel, logs, begun).await)
    }

    async fn handshake(
        &self,
        child: &mut Child,
        stdout: ChildStdout,
        logs: &Logs,
    ) -> Result<Handshake, StartError> {
        let mut lines = BufReader::new(stdout).lines();
        let line = timeout(self.patience, lines.next_line())
            .await
            .map_err(|_| StartError::Timeout(self.patience))??;
        // Read on for ever, as go-plugin does, so that the plugin never blocks on its stdout.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let Some(line) = line else {
            let status = child.wait().await?;
            logs.ended().await;
            return Err(StartError::Exited {
                status,
                log: logs.entries(),
            });
        };
        let handshake: Handshake = line.parse()?;
        match handshake.version {
            2 => Ok(handshake),
            other => Err(StartError::Version(other)),
        }
    }
}
