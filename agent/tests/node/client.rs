//! A client of the agent.

use std::{path::Path, time::Duration};

use hyper_util::rt::TokioIo;
use stillpoint_proto::agent::{
    Begin, FrozenFilesystem, HoldEvent, HoldRequest, Refusal, Thawed, VolumeFreeze,
    agent_client::AgentClient, hold_event::Event, hold_request, volume_freeze::Outcome,
};
use tokio::net::UnixStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Status, Streaming,
    transport::{Channel, Endpoint},
};

use crate::harness::PATIENCE;

pub(crate) async fn connect(socket: &Path) -> AgentClient<Channel> {
    let mut stream = Some(TokioIo::new(UnixStream::connect(socket).await.unwrap()));
    let connector = tower::service_fn(move |_| {
        let stream = stream.take().ok_or_else(|| std::io::Error::other("once"));
        std::future::ready(stream)
    });
    let endpoint = Endpoint::from_static("http://agent");
    let channel = endpoint.connect_with_connector(connector).await;
    AgentClient::new(channel.unwrap())
}

/// The client's side of a hold.
pub(crate) struct Hold {
    side: tokio::sync::mpsc::Sender<HoldRequest>,
    pub(crate) events: Streaming<HoldEvent>,
    pub(crate) volumes: Vec<VolumeFreeze>,
}

impl Hold {
    /// Returns when the agent has answered Frozen.
    pub(crate) async fn begin(
        client: &mut AgentClient<Channel>,
        handles: &[&str],
        limit: Duration,
    ) -> Result<Self, Status> {
        let (side, requests) = tokio::sync::mpsc::channel(1);
        let begin = Begin {
            hold_id: uuid::Uuid::new_v4().to_string(),
            volumes: handles.iter().map(|handle| (*handle).to_owned()).collect(),
            limit: prost_types::Duration::try_from(limit).ok(),
        };
        let request = hold_request::Request::Begin(begin);
        let message = HoldRequest {
            request: Some(request),
        };
        side.send(message).await.unwrap();
        let mut events = client
            .hold(ReceiverStream::new(requests))
            .await?
            .into_inner();
        match events.message().await?.and_then(|event| event.event) {
            Some(Event::Frozen(frozen)) => Ok(Self {
                side,
                events,
                volumes: frozen.volumes,
            }),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn frozen(&self, number: usize) -> &FrozenFilesystem {
        match self.volumes[number].outcome.as_ref().unwrap() {
            Outcome::Frozen(frozen) => frozen,
            Outcome::Refused(refusal) => panic!("{refusal:?}"),
        }
    }

    pub(crate) fn refused(&self, number: usize) -> &Refusal {
        match self.volumes[number].outcome.as_ref().unwrap() {
            Outcome::Refused(refusal) => refusal,
            Outcome::Frozen(frozen) => panic!("{frozen:?}"),
        }
    }

    /// Lets go and waits for Thawed.
    pub(crate) async fn release(mut self) -> Thawed {
        drop(self.side);
        thawed(&mut self.events).await
    }

    /// Waits for Thawed without letting go.
    pub(crate) async fn thawed(mut self) -> Thawed {
        thawed(&mut self.events).await
    }
}

async fn thawed(events: &mut Streaming<HoldEvent>) -> Thawed {
    let event = tokio::time::timeout(PATIENCE, events.message()).await;
    match event.unwrap().unwrap().and_then(|event| event.event) {
        Some(Event::Thawed(thawed)) => {
            assert!(
                events.message().await.unwrap().is_none(),
                "Thawed is the last"
            );
            thawed
        }
        other => panic!("{other:?}"),
    }
}
