//! A running plugin, and its end.

use std::{
    collections::HashMap,
    io,
    process::ExitStatus,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use stillpoint_proto::{
    goplugin::{
        ConnInfo, Empty, grpc_broker_client::GrpcBrokerClient,
        grpc_controller_client::GrpcControllerClient, grpc_stdio_client::GrpcStdioClient,
    },
    velero::{
        self as wire, PluginIdentifier, plugin_lister_client::PluginListerClient,
        volume_snapshotter_client::VolumeSnapshotterClient,
    },
};
use tempfile::TempDir;
use tokio::{process::Child, sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use super::{handshake::Handshake, logs::Logs, object_store::ObjectStore, usage::Usage};

/// go-plugin's patience after Shutdown.
const PATIENCE: Duration = Duration::from_secs(2);

/// A plugin that was started and not yet ended; killed on drop.
#[derive(Debug)]
pub struct Plugin {
    child: Child,
    handshake: Handshake,
    channel: Channel,
    logs: Logs,
    begun: Instant,
    // Its TMPDIR.
    _directory: TempDir,
    // The broker's stream is open as long as this.
    _broker: mpsc::Sender<ConnInfo>,
}

/// How a plugin ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// Of the process.
    pub status: ExitStatus,
    /// It did not end by itself.
    pub killed: bool,
    /// From the request to the end.
    pub took: Duration,
}

impl Plugin {
    /// Opens the streams that go-plugin's hosts open at once.
    pub(super) async fn new(
        child: Child,
        directory: TempDir,
        handshake: Handshake,
        channel: Channel,
        logs: Logs,
        begun: Instant,
    ) -> Self {
        let (broker, to_plugin) = mpsc::channel(1);
        let mut broker_client = GrpcBrokerClient::new(channel.clone());
        tokio::spawn(async move {
            let stream = broker_client
                .start_stream(ReceiverStream::new(to_plugin))
                .await;
            if let Ok(stream) = stream {
                let mut stream = stream.into_inner();
                while let Ok(Some(_)) = stream.message().await {}
            }
        });
        let mut stdio = GrpcStdioClient::new(channel.clone());
        tokio::spawn(async move {
            if let Ok(stream) = stdio.stream_stdio(()).await {
                let mut stream = stream.into_inner();
                while let Ok(Some(_)) = stream.message().await {}
            }
        });
        Self {
            child,
            handshake,
            channel,
            logs,
            begun,
            _directory: directory,
            _broker: broker,
        }
    }

    /// What it announced.
    pub fn handshake(&self) -> &Handshake {
        &self.handshake
    }

    /// For services that have no method here.
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// What it logged.
    pub fn logs(&self) -> &Logs {
        &self.logs
    }

    /// Since before its process was started.
    pub fn age(&self) -> Duration {
        self.begun.elapsed()
    }

    /// None once it was seen to have ended.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// # Errors
    /// If it has ended.
    pub fn usage(&self) -> io::Result<Usage> {
        Usage::of(self.pid().ok_or(io::ErrorKind::NotFound)?)
    }

    /// go-plugin's ping.
    ///
    /// # Errors
    /// If the plugin does not answer; `Ok(false)` if it says that it does not serve.
    pub async fn is_healthy(&self) -> Result<bool, Status> {
        let request = HealthCheckRequest {
            service: "plugin".to_owned(),
        };
        let answer = HealthClient::new(self.channel()).check(request).await?;
        Ok(answer.into_inner().status() == ServingStatus::Serving)
    }

    /// What it serves.
    ///
    /// # Errors
    /// As the plugin answers.
    pub async fn list_plugins(&self) -> Result<Vec<PluginIdentifier>, Status> {
        let mut client = PluginListerClient::new(self.channel());
        Ok(client
            .list_plugins(wire::Empty {})
            .await?
            .into_inner()
            .plugins)
    }

    /// The VolumeSnapshotter that is registered as `name`.
    pub fn snapshotter(&self, name: &str) -> Snapshotter {
        let client = VolumeSnapshotterClient::new(self.channel());
        Snapshotter {
            name: name.to_owned(),
            client,
        }
    }

    /// The ObjectStore that is registered as `name`.
    pub fn object_store(&self, name: &str) -> ObjectStore {
        ObjectStore::new(name, self.channel())
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// If it has ended.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        let pid = self.pid().and_then(|pid| Pid::from_raw(pid.cast_signed()));
        Ok(kill_process(pid.ok_or(io::ErrorKind::NotFound)?, signal)?)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// If it cannot be waited for, or does not end within `patience`.
    pub async fn ended(&mut self, patience: Duration) -> io::Result<ExitStatus> {
        timeout(patience, self.child.wait()).await?
    }

    /// As go-plugin does it: asks, waits 2 s, kills.
    ///
    /// # Errors
    /// If the process cannot be waited for.
    pub async fn shut_down(mut self) -> io::Result<Ended> {
        let asked = Instant::now();
        let mut controller = GrpcControllerClient::new(self.channel());
        let answered = controller.shutdown(Empty {}).await;
        if answered.is_ok()
            && let Ok(status) = timeout(PATIENCE, self.child.wait()).await
        {
            return Ok(Ended {
                status: status?,
                killed: false,
                took: asked.elapsed(),
            });
        }
        self.child.kill().await?;
        let status = self.child.wait().await?;
        Ok(Ended {
            status,
            killed: true,
            took: asked.elapsed(),
        })
    }

    /// `kill -9`, and waits for the end.
    ///
    /// # Errors
    /// If it cannot be killed.
    pub async fn kill(&mut self) -> io::Result<()> {
        self.child.kill().await
    }
}

/// A VolumeSnapshotter, with Velero's conventions applied: `""` and 0 are none.
#[derive(Clone, Debug)]
pub struct Snapshotter {
    name: String,
    client: VolumeSnapshotterClient<Channel>,
}

/// What every call returns.
type Answer<T> = Result<T, Status>;

#[expect(clippy::missing_errors_doc, reason = "all as the plugin answers")]
impl Snapshotter {
    /// The one that is registered as `name` at the other end of `channel`.
    pub fn new(name: &str, channel: Channel) -> Self {
        let client = VolumeSnapshotterClient::new(channel);
        Self {
            name: name.to_owned(),
            client,
        }
    }

    /// With the config of a VolumeSnapshotLocation.
    pub async fn init(&self, config: &[(&str, &str)]) -> Answer<()> {
        let config = strings(config);
        let request = wire::VolumeSnapshotterInitRequest {
            plugin: self.name.clone(),
            config,
        };
        self.client.clone().init(request).await?;
        Ok(())
    }

    /// Type and IOPS of a volume.
    pub async fn volume_info(&self, volume: &str, zone: &str) -> Answer<(String, Option<i64>)> {
        let request = wire::GetVolumeInfoRequest {
            plugin: self.name.clone(),
            volume_id: volume.to_owned(),
            volume_az: zone.to_owned(),
        };
        let answer = self
            .client
            .clone()
            .get_volume_info(request)
            .await?
            .into_inner();
        Ok((
            answer.volume_type,
            Some(answer.iops).filter(|iops| *iops != 0),
        ))
    }

    /// The ID of the snapshot.
    pub async fn create_snapshot(
        &self,
        volume: &str,
        zone: &str,
        tags: &[(&str, &str)],
    ) -> Answer<String> {
        let request = wire::CreateSnapshotRequest {
            plugin: self.name.clone(),
            volume_id: volume.to_owned(),
            volume_az: zone.to_owned(),
            tags: strings(tags),
        };
        Ok(self
            .client
            .clone()
            .create_snapshot(request)
            .await?
            .into_inner()
            .snapshot_id)
    }

    /// Deletes a snapshot.
    pub async fn delete_snapshot(&self, snapshot: &str) -> Answer<()> {
        let request = wire::DeleteSnapshotRequest {
            plugin: self.name.clone(),
            snapshot_id: snapshot.to_owned(),
        };
        self.client.clone().delete_snapshot(request).await?;
        Ok(())
    }

    /// The ID of the volume.
    pub async fn create_volume(
        &self,
        snapshot: &str,
        volume_type: &str,
        zone: &str,
        iops: Option<i64>,
    ) -> Answer<String> {
        let request = wire::CreateVolumeRequest {
            plugin: self.name.clone(),
            snapshot_id: snapshot.to_owned(),
            volume_type: volume_type.to_owned(),
            volume_az: zone.to_owned(),
            iops: iops.unwrap_or_default(),
        };
        let answer = self
            .client
            .clone()
            .create_volume_from_snapshot(request)
            .await?;
        Ok(answer.into_inner().volume_id)
    }

    /// None if the PV is not of this plugin's kind.
    pub async fn volume_id(&self, persistent_volume: &Value) -> Answer<Option<String>> {
        let request = wire::GetVolumeIdRequest {
            plugin: self.name.clone(),
            persistent_volume: persistent_volume.to_string().into_bytes(),
        };
        let answer = self
            .client
            .clone()
            .get_volume_id(request)
            .await?
            .into_inner();
        Ok(Some(answer.volume_id).filter(|id| !id.is_empty()))
    }

    /// The PV, changed.
    pub async fn set_volume_id(&self, persistent_volume: &Value, volume: &str) -> Answer<Value> {
        let request = wire::SetVolumeIdRequest {
            plugin: self.name.clone(),
            persistent_volume: persistent_volume.to_string().into_bytes(),
            volume_id: volume.to_owned(),
        };
        let answer = self
            .client
            .clone()
            .set_volume_id(request)
            .await?
            .into_inner();
        serde_json::from_slice(&answer.persistent_volume)
            .map_err(|error| Status::data_loss(format!("the plugin's PV is no JSON: {error}")))
    }
}

pub(super) fn strings(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}
