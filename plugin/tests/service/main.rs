//! Velero's services over their socket, with use cases that do as the test says.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod fake;
mod object_store;
mod snapshotter;

use std::{
    io::{self, BufRead as _, BufReader},
    sync::Arc,
    time::{Duration, Instant},
};

use fake::{Disks, Objects};
use stillpoint_lab::host::Handshake;
use stillpoint_plugin::{
    goplugin::{self, Environment, StopReason},
    velero::{self, Served},
};
use stillpoint_proto::goplugin::{Empty, grpc_controller_client::GrpcControllerClient};
use tokio::task::JoinHandle;
use tonic::transport::Channel;

const NAME: &str = "stillpoint.io/azure";
const OTHER_NAME: &str = "velero.io/azure";

/// A plugin within this process.
struct InProcess {
    disks: Arc<Disks>,
    objects: Arc<Objects>,
    handshake: Handshake,
    channel: Channel,
    ended: JoinHandle<StopReason>,
}

async fn start() -> InProcess {
    let disks = Arc::<Disks>::default();
    let locations = fake::Locations(Arc::clone(&disks));
    let objects = Arc::<Objects>::default();
    let stores = fake::Stores(Arc::clone(&objects));
    let (reader, stdout) = io::pipe().unwrap();
    let ended = tokio::spawn(async move {
        let environment = Environment::read(|_| None).unwrap();
        let served = Served::new(Some(OTHER_NAME.as_ref()));
        goplugin::serve(&environment, None, stdout, |routes, calls| {
            let command = "plugin".to_owned();
            velero::register(routes, calls, served, command, locations, stores);
        })
        .await
        .unwrap()
    });
    let line = tokio::task::spawn_blocking(|| BufReader::new(reader).lines().next());
    let handshake: Handshake = line.await.unwrap().unwrap().unwrap().parse().unwrap();
    let channel = handshake.connect(None).await.unwrap();
    InProcess {
        disks,
        objects,
        handshake,
        channel,
        ended,
    }
}

impl InProcess {
    async fn shut_down(self) -> Duration {
        let asked = Instant::now();
        GrpcControllerClient::new(self.channel.clone())
            .shutdown(Empty {})
            .await
            .unwrap();
        assert_eq!(self.ended.await.unwrap(), StopReason::Shutdown);
        assert!(!self.handshake.socket.exists());
        asked.elapsed()
    }
}
