//! A running cluster: its start, its clients, outages of its parts.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use kube::{
    Client, Config,
    config::{AuthInfo, KubeConfigOptions, Kubeconfig},
};
use rustix::process::Signal;
use tokio::net::TcpStream;

use crate::{
    credentials::Credentials,
    part::{Part, Parts, Place},
    process::Process,
    programs,
    scratch::{self, Port},
};

/// For one part to be ready; two cores that compile at the same time are slow.
const STARTS_WITHIN: Duration = Duration::from_secs(120);

/// A Kubernetes cluster of its own; dropping it ends all its processes and removes its files.
pub struct Cluster {
    // Dropped in this order: processes before their directory.
    parts: BTreeMap<Part, Process>,
    client: Client,
    config: Config,
    pub(crate) place: Place,
}

impl Cluster {
    /// Starts a cluster and waits until it is ready. Programs are compiled at first need.
    pub async fn start(parts: Parts) -> Result<Self> {
        let mut programs = Vec::new();
        for part in parts.all() {
            programs.push((*part, programs::path(part.program()).await?));
        }
        let directory = scratch::directory()?;
        let port = Port::hold()?;
        let hosts: Vec<_> = parts.all().iter().map(|part| part.address(&port)).collect();
        let hosts: Vec<_> = hosts.iter().map(|host| host.ip().to_string()).collect();
        let server = format!("https://{}", Part::ApiServer.address(&port));
        let credentials = Credentials::write(directory.path(), &hosts, server)?;
        let kubeconfig = Kubeconfig::read_from(credentials.kubeconfig())?;
        let config =
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        let place = Place {
            port,
            credentials,
            directory,
        };
        let mut cluster = Self {
            parts: BTreeMap::new(),
            client: Client::try_from(config.clone())?,
            config,
            place,
        };
        for (part, program) in programs {
            let mut process = part.process(program, &cluster.place)?;
            process.start()?;
            cluster.parts.insert(part, process);
            if part == Part::ApiServer {
                cluster.until_ready(part).await?;
            }
        }
        for part in parts.all() {
            cluster.until_ready(*part).await?;
        }
        Ok(cluster)
    }

    /// A client with all rights.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// A kubeconfig with all rights.
    pub fn kubeconfig(&self) -> PathBuf {
        self.place.credentials.kubeconfig()
    }

    /// A kubeconfig that presents `token`, as the file `<name>.kubeconfig`.
    pub fn kubeconfig_with(&self, name: &str, token: &str) -> Result<PathBuf> {
        self.place.credentials.write_kubeconfig(name, token)
    }

    /// Its directory: logs are there, and what a test keeps can be.
    pub fn directory(&self) -> &Path {
        self.place.directory.path()
    }

    /// What a part has logged.
    pub fn log(&self, part: Part) -> String {
        let process = self.parts.get(&part);
        process.map(Process::log).unwrap_or_default()
    }

    /// Kills a part. What it keeps is kept, its address too: connections to it are refused.
    pub fn stop(&mut self, part: Part) -> Result<()> {
        self.process(part)?.kill();
        Ok(())
    }

    /// Starts a part again, killed before if it still runs, and waits until it is ready.
    pub async fn restart(&mut self, part: Part) -> Result<()> {
        self.process(part)?.start()?;
        self.until_ready(part).await
    }

    /// Stops a part in its tracks: connections to it are accepted, and nothing is answered.
    pub fn pause(&mut self, part: Part) -> Result<()> {
        self.process(part)?.signal(Signal::STOP)
    }

    /// Lets a paused part go on.
    pub fn resume(&mut self, part: Part) -> Result<()> {
        self.process(part)?.signal(Signal::CONT)
    }

    /// Whether it has that part.
    pub(crate) fn part_runs(&self, part: Part) -> bool {
        self.parts.contains_key(&part)
    }

    fn process(&mut self, part: Part) -> Result<&mut Process> {
        self.parts.get_mut(&part).with_context(|| {
            format!("{part:?} is no part of this cluster: start it with Parts::All")
        })
    }

    async fn until_ready(&mut self, part: Part) -> Result<()> {
        let address = part.address(&self.place.port);
        let mut config = self.config.clone();
        config.cluster_url = format!("https://{address}").parse()?;
        config.default_retry = false;
        if part != Part::ApiServer {
            // The others know no tokens.
            config.auth_info = AuthInfo::default();
        }
        let client = Client::try_from(config)?;
        let process = self.process(part)?;
        let path = match part {
            Part::Etcd => None,
            Part::ApiServer => Some("/readyz"),
            Part::ControllerManager | Part::Scheduler | Part::Kwok => Some("/healthz"),
        };
        let probe = async || {
            match path {
                Some(path) => {
                    let request = http::Request::get(path).body(Vec::new())?;
                    client.request_text(request).await?;
                }
                None => drop(TcpStream::connect(address).await?),
            }
            Ok(())
        };
        process.ready(STARTS_WITHIN, probe).await
    }
}
