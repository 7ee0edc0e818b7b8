//! One volume that a program writes to, a plugin about to take its snapshot, and what must be true however that ends.

mod verdict;

use std::{
    fmt,
    future::Future,
    pin::Pin,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use stillpoint_lab::{
    Action, Fault, RequestRecord, Settings,
    host::{Host, Plugin, Snapshotter},
};
use stillpoint_loopfs::Kind;
use tokio::task::JoinHandle;
use tonic::Status;

use crate::{
    programs,
    rig::{NAME, Rig, Volume, ZONE},
    writers::Writer,
};

/// What is waited for comes within this, or never.
const SOON: Duration = Duration::from_secs(20);

/// Everything that one case needs; nothing is shared with another. Dropped in this order.
#[derive(Debug)]
pub struct Scene {
    /// Writes to the volume all the time; `None` leaves the volume alone, so that it can be unmounted.
    pub writer: Option<Writer>,
    /// The volume.
    pub volume: Volume,
    /// The plugin that is told to take its snapshot.
    pub plugin: Plugin,
    /// Of that plugin.
    pub snapshotter: Snapshotter,
    /// The node, its agent and its Azure.
    pub rig: Rig,
    config: Vec<(String, String)>,
}

/// A lab whose snapshots take long enough for something to happen meanwhile.
pub fn settings() -> Settings {
    let mut settings = Settings::fast();
    settings.snapshot.duration = Duration::from_millis(400);
    settings
}

/// Waits until `condition` holds.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) -> Result<()> {
    let begun = Instant::now();
    while !condition() {
        ensure!(begun.elapsed() < SOON, "not within {SOON:?}: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

/// A fault of every PUT, GET, … of a snapshot.
pub fn fault(method: &str, times: u32, action: Action) -> Fault {
    Fault {
        method: Some(method.into()),
        path: "**/snapshots/*".into(),
        skip: 0,
        times,
        action,
    }
}

/// An answer of Azure's that is none.
pub fn status(status: u16) -> Action {
    Action::Status {
        status,
        code: None,
        message: None,
        retry_after: None,
    }
}

/// 429, to be asked again after a second.
pub fn throttled() -> Action {
    Action::Status {
        status: 429,
        code: None,
        message: None,
        retry_after: Some("1".into()),
    }
}

/// One case of a test.
pub type Case = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// Runs cases at once: most of their time is waiting. Those that fail are told by name.
pub async fn all<N: fmt::Display>(cases: impl IntoIterator<Item = (N, Case)>) {
    if let Some(why) = stillpoint_loopfs::missing() {
        eprintln!("SKIPPED: {why}");
        return;
    }
    let running: Vec<_> = cases
        .into_iter()
        .map(|(name, case)| (name, tokio::spawn(case)))
        .collect();
    let mut failed = Vec::new();
    for (name, case) in running {
        match case.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => failed.push(format!("{name}: {error:#}")),
            Err(panic) => failed.push(format!("{name}: {panic}")),
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

/// A fault that the plugin gets over: the snapshot is consistent in the end, and the only one.
pub fn overcome(faults: Vec<Fault>, config: &'static [(&'static str, &'static str)]) -> Case {
    Box::pin(async move {
        let scene = Scene::busy(settings(), config).await?;
        faults
            .into_iter()
            .for_each(|fault| scene.rig.lab.inject(fault));
        let answer = scene.take().await;
        ensure!(scene.rig.lab.faults().is_empty(), "the fault met nothing");
        scene.is_whole(answer).await.map(drop)
    })
}

impl Scene {
    /// A volume of ext4 with a busy writer.
    pub async fn busy(settings: Settings, config: &[(&str, &str)]) -> Result<Self> {
        let mut scene = Self::idle(settings, config).await?;
        let writer = Writer::files(scene.volume.path())?;
        until("the writer writes", || writer.count() > 5).await?;
        scene.writer = Some(writer);
        Ok(scene)
    }

    /// A volume of ext4 that nobody uses.
    pub async fn idle(settings: Settings, config: &[(&str, &str)]) -> Result<Self> {
        let rig = Rig::start(settings).await?;
        let volume = rig.volume("data", Kind::Ext4)?;
        Self::of(rig, volume, config).await
    }

    /// The same with a node and volume that are there already.
    pub async fn of(rig: Rig, volume: Volume, config: &[(&str, &str)]) -> Result<Self> {
        let host = Host::new(programs::program(programs::PLUGIN)?).argument("--log-level=trace");
        Self::hosted(rig, volume, config, host).await
    }

    /// The same with a plugin started that way.
    pub async fn hosted(
        rig: Rig,
        volume: Volume,
        config: &[(&str, &str)],
        host: Host,
    ) -> Result<Self> {
        let config = rig.config(config);
        let plugin = host.start().await?;
        let scene = Self {
            snapshotter: plugin.snapshotter(NAME),
            writer: None,
            volume,
            plugin,
            rig,
            config,
        };
        scene.init().await?;
        Ok(scene)
    }

    /// As Velero does after each start of the plugin. Waits for the sweep, so that no fault meets its requests.
    async fn init(&self) -> Result<()> {
        let config = self.config.iter();
        let config: Vec<_> = config
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        let swept = self.requests("GET", "/snapshots").len();
        self.snapshotter.init(&config).await?;
        until("the sweep has listed", || {
            let lists = self.requests("GET", "/snapshots");
            lists.len() > swept && lists.iter().all(|list| list.answered.is_some())
        })
        .await
    }

    /// Another process of the plugin instead of this one, which is killed if it still runs.
    pub async fn restart_plugin(&mut self) -> Result<()> {
        let host = Host::new(programs::program(programs::PLUGIN)?).argument("--log-level=trace");
        self.plugin = host.start().await?;
        self.snapshotter = self.plugin.snapshotter(NAME);
        self.init().await
    }

    /// Takes the snapshot.
    pub async fn take(&self) -> Result<String, Status> {
        let taken = self.taking().await;
        taken.unwrap_or_else(|error| Err(Status::internal(error.to_string())))
    }

    /// Begins to take the snapshot. Aborting the task cancels the call, as a host does.
    pub fn taking(&self) -> JoinHandle<Result<String, Status>> {
        let (snapshotter, volume) = (self.snapshotter.clone(), self.volume.handle());
        tokio::spawn(async move {
            snapshotter
                .create_snapshot(&volume, ZONE, &[("velero.io/backup", "b")])
                .await
        })
    }

    /// Requests that the lab has got, by method and the part of the path before the name.
    pub fn requests(&self, method: &str, kind: &str) -> Vec<RequestRecord> {
        let mut requests = self.rig.lab.requests();
        requests.retain(|request| request.method == method && request.path.contains(kind));
        requests
    }

    /// How many PUTs of snapshots there were. The volume is frozen when the first comes.
    pub fn puts(&self) -> usize {
        self.requests("PUT", "/snapshots/").len()
    }

    /// Waits until the volume is frozen and the snapshot asked for.
    pub async fn asked(&self) -> Result<()> {
        until("the snapshot is asked for", || self.puts() > 0).await
    }

    /// Waits until Azure has taken the snapshot on and the plugin polls it.
    pub async fn polled(&self) -> Result<()> {
        until("the snapshot is polled", || {
            let polls = self.requests("GET", "/snapshots/");
            self.puts() > 0 && !polls.is_empty()
        })
        .await
    }
}
