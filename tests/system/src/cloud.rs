//! An Azure without a node: disks that are attached nowhere, and plugins that work on them.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Map, Value, json};
use stillpoint_lab::{
    Lab, NewDisk, ResourceId, Settings, Sku,
    host::{Host, Plugin, Snapshotter},
};

use crate::{
    arm::Arm,
    programs,
    rig::{NAME, ZONE},
};

/// The lab, and what Velero's server would do with it.
#[derive(Debug)]
pub struct Cloud {
    /// The simulated Azure.
    pub lab: Lab,
}

/// A config as Init takes it.
pub type Config = BTreeMap<String, String>;

impl Cloud {
    /// Starts the lab with everything at once; `None`, and said, where it cannot run.
    pub async fn start() -> Result<Option<Self>> {
        if let Some(why) = stillpoint_loopfs::missing() {
            eprintln!("SKIPPED: {why}");
            return Ok(None);
        }
        let lab = Lab::start(Settings::fast()).await?;
        Ok(Some(Self { lab }))
    }

    /// How the plugin is started: as Velero does.
    pub fn host() -> Result<Host> {
        Ok(Host::new(programs::program(programs::PLUGIN)?).argument("--log-level=debug"))
    }

    /// Starts the plugin.
    pub async fn plugin(&self) -> Result<Plugin> {
        Ok(Self::host()?.start().await?)
    }

    /// A location's config that leads to the lab, with `more` besides.
    pub fn config(&self, more: &[(&str, &str)]) -> Config {
        let mut config = self.lab.location_config();
        config.insert("freeze".into(), "off".into());
        config.extend(
            more.iter()
                .map(|(key, value)| ((*key).into(), (*value).into())),
        );
        config
    }

    /// A VolumeSnapshotter of `plugin`, initialized with [`Cloud::config`].
    pub async fn snapshotter(&self, plugin: &Plugin, more: &[(&str, &str)]) -> Result<Snapshotter> {
        let snapshotter = plugin.snapshotter(NAME);
        init(&snapshotter, &self.config(more)).await?;
        Ok(snapshotter)
    }

    /// A Premium SSD of 1 GiB in zone 1, still to be made.
    pub fn premium(&self, name: &str) -> NewDisk {
        NewDisk {
            zone: Some("1".into()),
            ..NewDisk::new(self.lab.disk_id(name))
        }
    }

    /// The same of another SKU and with other properties, in the zone that the SKU can have.
    pub fn disk(&self, name: &str, sku: Sku, gib: u64, properties: Value) -> NewDisk {
        let properties = match properties {
            Value::Object(properties) => properties,
            _ => Map::new(),
        };
        let zone = (!sku.zone_redundant()).then(|| "1".to_owned());
        NewDisk {
            sku,
            gib,
            zone,
            properties,
            ..NewDisk::new(self.lab.disk_id(name))
        }
    }

    /// A snapshot of a disk that is made for it, and gone when this returns.
    pub async fn snapshot_of_lost(&self, with: &Snapshotter, disk: &NewDisk) -> Result<String> {
        let id = self.lab.create_disk(disk)?;
        let snapshot = with
            .create_snapshot(&id.to_string(), ZONE, &[("velero.io/backup", "nightly")])
            .await?;
        self.lab.delete_disk(&id);
        Ok(snapshot)
    }

    /// A disk as ARM shows it.
    pub fn shown(&self, disk: &str) -> Result<Value> {
        self.lab
            .disk(&disk.parse()?)
            .with_context(|| format!("there is no {disk}"))
    }

    /// A PUT as another program makes it, such as the stock plugin; its status and body.
    pub async fn put(&self, id: &ResourceId, body: &Value) -> Result<(u16, Value)> {
        let answer = Arm::login(&self.lab).await?.put(id, body).await?;
        Ok((answer.status, answer.body))
    }

    /// A snapshot as the stock plugin leaves one: with Velero's tags and none of ours.
    pub async fn stock_snapshot(&self, name: &str, disk: &ResourceId) -> Result<ResourceId> {
        let id = self.lab.snapshot_id(name);
        let location = self.shown(&disk.to_string())?["location"].clone();
        let body = json!({
            "location": location,
            "tags": {"velero.io-backup": "old", "velero.io-pv": "pvc-old"},
            "properties": {
                "creationData": {"createOption": "Copy", "sourceResourceId": disk.to_string()},
                "incremental": true,
            },
        });
        let (status, answer) = self.put(&id, &body).await?;
        ensure!(status < 300, "{status}: {answer}");
        until(|| {
            self.lab
                .snapshot(&id)
                .filter(|snapshot| snapshot.state != "Creating")
        })
        .await?;
        Ok(id)
    }

    /// Requests that change something or log in, and reads, by what they are about: `PUT snapshots`, `GET disks`, ….
    pub fn requests(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for request in self.lab.requests() {
            let what = ["oauth2", "DiskOperations", "snapshots", "disks"]
                .into_iter()
                .find(|what| {
                    request
                        .path
                        .to_ascii_lowercase()
                        .contains(&what.to_ascii_lowercase())
                })
                .unwrap_or("else");
            *counts
                .entry(format!("{} {what}", request.method))
                .or_default() += 1;
        }
        counts
    }
}

/// Init with that config.
pub async fn init(snapshotter: &Snapshotter, config: &Config) -> Result<(), tonic::Status> {
    let config: Vec<_> = config
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    snapshotter.init(&config).await
}

/// Waits until there is something, for ten seconds at most.
pub async fn until<T>(mut look: impl FnMut() -> Option<T>) -> Result<T> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(found) = look() {
            return Ok(found);
        }
        ensure!(
            Instant::now() < deadline,
            "nothing came of it in ten seconds"
        );
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}
