//! Programs beside a cluster that act on it: controllers, the sidecars of a CSI driver, webhooks.

use std::{ffi::OsString, net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::Result;
use rustix::process::Signal;
use tokio::net::{TcpStream, UnixStream};

use crate::{Cluster, process::Process};

const STARTS_WITHIN: Duration = Duration::from_secs(120);

/// How a program is run beside a cluster.
#[derive(Clone, Debug)]
pub struct CompanionOptions {
    /// Its log is `<name>.log` in the cluster's directory.
    pub name: &'static str,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Its environment besides ours.
    pub variables: Vec<(OsString, OsString)>,
    /// It has started when it takes connections here.
    pub door: Door,
}

/// Where a program takes connections.
#[derive(Clone, Debug)]
pub enum Door {
    /// An address.
    Tcp(SocketAddr),
    /// The path of a unix socket.
    Unix(PathBuf),
}

/// A program beside a cluster, killed with all that it started when dropped; drop it before the cluster.
#[derive(Debug)]
pub struct Companion {
    process: Process,
    door: Door,
}

impl Cluster {
    /// Starts a program beside the cluster and waits until it takes connections.
    pub async fn start_companion(&self, options: CompanionOptions) -> Result<Companion> {
        let mut process = Process::new(options.name, self.directory(), options.program)
            .arguments(options.arguments);
        for (key, value) in options.variables {
            process = process.variable(key, value);
        }
        let mut companion = Companion {
            process,
            door: options.door,
        };
        companion.start().await?;
        Ok(companion)
    }

    /// An address on which no part of the cluster listens; the same for the same number, 0 to 99.
    pub fn spare_address(&self, number: u8) -> SocketAddr {
        self.place.port.on(100 + number)
    }
}

impl Companion {
    /// Starts it, again if it was killed or still runs, and waits until it takes connections.
    pub async fn start(&mut self) -> Result<()> {
        self.process.start()?;
        let door = &self.door;
        self.process
            .ready(STARTS_WITHIN, async || door.knock().await)
            .await
    }

    /// Kills it, as the end of its container does.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Stops it in its tracks: connections to it are accepted, and nothing is answered.
    pub fn pause(&self) -> Result<()> {
        self.process.signal(Signal::STOP)
    }

    /// Lets it go on.
    pub fn resume(&self) -> Result<()> {
        self.process.signal(Signal::CONT)
    }

    /// Its process ID, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.pid()
    }

    /// What it has logged, over all its starts.
    pub fn log(&self) -> String {
        self.process.log()
    }
}

impl Door {
    async fn knock(&self) -> Result<()> {
        match self {
            Self::Tcp(address) => drop(TcpStream::connect(address).await?),
            Self::Unix(path) => drop(UnixStream::connect(path).await?),
        }
        Ok(())
    }
}
