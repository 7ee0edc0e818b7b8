//! A node on which rounds run one after another.

use std::{
    fs,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use stillpoint_lab::{
    NewDisk, Settings,
    host::{Host, Plugin, Snapshotter},
};
use stillpoint_loopfs::Kind;

use super::{clock::Clock, link::Link, plan::Plan, site::Site, volume::Written};
use crate::{
    programs,
    rig::{NAME, Rig},
    scene::until,
};

/// The shortest that there is.
pub(super) const LIMIT: Duration = Duration::from_secs(1);
/// Of each filesystem: one rests while the other is cut.
const VOLUMES: usize = 2;
/// A mount's watchdog is put off for so long at each round.
const WATCHDOG: Duration = Duration::from_secs(180);
const NAP: Duration = Duration::from_millis(5);

/// Fields are dropped in their order.
pub(super) struct Lane {
    pub(super) volumes: Vec<Written>,
    pub(super) plugin: Plugin,
    pub(super) snapshotter: Snapshotter,
    mode: &'static str,
    pub(super) link: Option<Link>,
    pub(super) clock: Clock,
    pub(super) noise: Noise,
    pub(super) site: Option<Site>,
    plugins_kubeconfig: Option<PathBuf>,
    pub(super) rig: Rig,
}

impl Lane {
    pub(super) async fn start(in_kubernetes: bool) -> Result<Self> {
        let mut settings = Settings::fast();
        settings.snapshot.duration = Duration::from_millis(60);
        settings.incremental.most = usize::MAX;
        settings.incremental.total = usize::MAX;
        let mut rig = Rig::start(settings).await?;
        rig.stop_agent();
        let journal = journal(&rig);
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"])
            .arg(&journal)
            .status()?;
        ensure!(mounted.success(), "no tmpfs for the journal: {mounted}");
        let clock = Clock::make(rig.scratch())?;
        rig.agent_variables = clock.variables();
        let mut site = None;
        let mut plugins_kubeconfig = None;
        if in_kubernetes {
            let started = Site::start(&rig).await?;
            plugins_kubeconfig = Some(started.plugins_kubeconfig().await?);
            site = Some(started);
        }
        let mut volumes = Vec::new();
        for number in 0..VOLUMES {
            for kind in Kind::ALL {
                let id = rig.lab.disk_id(&format!("{kind}-{number}"));
                let disk = NewDisk {
                    zone: Some("1".into()),
                    ..NewDisk::new(id)
                };
                let volume = rig.volume_on(disk, kind)?;
                if let Some(site) = &site {
                    site.add(&volume).await?;
                }
                volumes.push(Written::start(volume)?);
            }
        }
        let (plugin, snapshotter) = plugin(plugins_kubeconfig.as_ref(), false).await?;
        let mut lane = Self {
            volumes,
            plugin,
            snapshotter,
            mode: "",
            link: None,
            clock,
            noise: Noise::listen(rig.scratch())?,
            site,
            plugins_kubeconfig,
            rig,
        };
        lane.start_agent().await?;
        if !in_kubernetes {
            let link = Link::unix(&lane.rig.scratch().join("link.sock"), &lane.rig.socket())?;
            lane.link = Some(link);
        }
        Ok(lane)
    }

    /// Starts the agent as the kubelet does, whatever became of the last.
    pub(super) async fn start_agent(&mut self) -> Result<()> {
        let kubeconfig = self.site.as_ref().map(|site| site.kubeconfig.clone());
        self.rig.start_agent_of(kubeconfig.as_deref())?;
        if let Some(site) = &mut self.site {
            site.announced().await?;
        }
        Ok(())
    }

    /// Starts the plugin, as the child of a host that can be killed if it is `hosted`.
    pub(super) async fn start_plugin(&mut self, hosted: bool) -> Result<()> {
        (self.plugin, self.snapshotter) = plugin(self.plugins_kubeconfig.as_ref(), hosted).await?;
        self.mode = "";
        Ok(())
    }

    /// Has the plugin work in that mode.
    pub(super) async fn set_mode(&mut self, mode: &'static str) -> Result<()> {
        if self.mode == mode {
            return Ok(());
        }
        let agent = match &self.site {
            Some(_) => "auto".to_owned(),
            None => format!("unix:{}", self.rig.scratch().join("link.sock").display()),
        };
        let config =
            self.rig
                .config(&[("freeze", mode), ("freezeTimeout", "1s"), ("agent", &agent)]);
        let pairs = config
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()));
        let pairs: Vec<_> = pairs.collect();
        self.snapshotter.init(&pairs).await?;
        self.mode = mode;
        Ok(())
    }

    /// For each filesystem of the plan the place of the volume that has rested longest; waits until it has enough.
    pub(super) async fn pick(&mut self, plan: &Plan) -> Result<Vec<usize>> {
        let mut picked = Vec::new();
        for kind in &plan.kinds {
            let of_kind = self.volumes.iter().enumerate();
            let of_kind = of_kind.filter(|(_, written)| written.volume.kind == *kind);
            let place = of_kind.min_by_key(|(_, written)| written.rests);
            picked.push(place.context("a lane has volumes of every kind")?.0);
        }
        for place in &picked {
            tokio::time::sleep_until(self.volumes[*place].rests.into()).await;
        }
        for written in &mut self.volumes {
            written.volume.mounts.staged.watch(WATCHDOG)?;
        }
        Ok(picked)
    }

    /// Fills the journal's filesystem, or makes room again.
    pub(super) fn fill_journal(&self, full: bool) -> Result<()> {
        let filler = journal(&self.rig).join("filler");
        if full {
            // Fails when it is full.
            let _ = fs::write(filler, vec![7; 1 << 20]);
        } else if filler.exists() {
            fs::remove_file(filler)?;
        }
        Ok(())
    }

    /// Wakes whatever of the agent sleeps.
    pub(super) fn wake_agent(&mut self) -> Result<()> {
        let agent = self.rig.agent()?;
        agent.signal(Signal::CONT);
        // It may be dead, or not there yet.
        let _ = agent.signal_worker(Signal::CONT);
        Ok(())
    }

    /// Waits until the lab has been asked for a snapshot; not for ever, for a fault may have come before.
    pub(super) async fn asked(&self) {
        let asked = until("a snapshot is asked for", || {
            let requests = self.rig.lab.requests();
            requests.iter().any(|request| request.method == "PUT")
        });
        let _ = tokio::time::timeout(LIMIT, asked).await;
    }

    pub(super) fn slow_disk_is_missing(&self) -> bool {
        self.volumes
            .iter()
            .any(|written| written.throttle.is_none())
    }

    /// What the agent and the plugin said last.
    pub(super) fn evidence(&mut self) -> String {
        let log = self
            .rig
            .agent()
            .map(|agent| agent.log())
            .unwrap_or_default();
        let last: Vec<_> = log.lines().rev().take(30).collect();
        let mut text = String::from("the agent's log:\n");
        for line in last.iter().rev() {
            text += &format!("  {line}\n");
        }
        let entries = self.plugin.logs().entries();
        text += "the plugin's log:\n";
        for entry in entries.iter().rev().take(30).rev() {
            text += &format!("  {entry:?}\n");
        }
        text
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        let _ = self.wake_agent();
        self.rig.stop_agent();
        let _ = Command::new("umount")
            .arg("--lazy")
            .arg(journal(&self.rig))
            .status();
    }
}

fn journal(rig: &Rig) -> PathBuf {
    rig.scratch().join("agent/journal")
}

async fn plugin(kubeconfig: Option<&PathBuf>, hosted: bool) -> Result<(Plugin, Snapshotter)> {
    let program = programs::program(programs::PLUGIN)?;
    let mut options = vec!["--log-level=debug".to_owned()];
    options.extend(kubeconfig.map(|path| format!("--kubeconfig={}", path.display())));
    let host = if hosted {
        // The shell stands for the host.
        let host = Host::new("sh")
            .argument("-c")
            .argument(r#""$0" "$@" & wait"#);
        host.argument(program)
    } else {
        Host::new(program)
    };
    let host = options.into_iter().fold(host, Host::argument);
    let plugin = host.start().await?;
    let snapshotter = plugin.snapshotter(NAME);
    Ok((plugin, snapshotter))
}

/// By how much the machine is late with whatever it does, for others use it, too: with waking who sleeps, and with writing
/// to disk, which a thaw of ext4 waits for.
#[derive(Debug)]
pub(super) struct Noise {
    asleep: Arc<AtomicU64>,
    writing: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Noise {
    fn listen(directory: &Path) -> Result<Self> {
        let noise = Self {
            asleep: Arc::default(),
            writing: Arc::default(),
            stop: Arc::default(),
        };
        noise.measure(&noise.asleep, || thread::sleep(NAP), NAP);
        let file = fs::File::create(directory.join("noise"))?;
        let write = move || {
            let written = file.write_all_at(b"noise", 0);
            let _ = written.and_then(|()| file.sync_data());
            // Part of what is measured, so that the disk is not kept busy by it.
            thread::sleep(NAP * 8);
        };
        noise.measure(&noise.writing, write, NAP * 8);
        Ok(noise)
    }

    /// Does something again and again, and keeps how much longer than `usual` it took.
    fn measure(&self, longest: &Arc<AtomicU64>, act: impl Fn() + Send + 'static, usual: Duration) {
        let (longest, stop) = (longest.clone(), self.stop.clone());
        thread::spawn(move || {
            while !stop.load(Relaxed) {
                let begun = Instant::now();
                act();
                let late = begun.elapsed().saturating_sub(usual).as_micros();
                longest.fetch_max(u64::try_from(late).unwrap_or(u64::MAX), Relaxed);
            }
        });
    }

    pub(super) fn forget(&self) {
        self.asleep.store(0, Relaxed);
        self.writing.store(0, Relaxed);
    }

    pub(super) fn longest(&self) -> Duration {
        let sum = self.asleep.load(Relaxed) + self.writing.load(Relaxed);
        Duration::from_micros(sum)
    }
}

impl Drop for Noise {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
    }
}
