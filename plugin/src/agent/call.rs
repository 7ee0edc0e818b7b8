//! The call that is a hold, the same at every door.

use std::time::Duration;

use stillpoint_proto::agent::{
    Begin, HoldRequest, agent_client::AgentClient, hold_request::Request as Message,
};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, transport::Channel};

use super::hold::{AgentHold, NotHeld};
use crate::model::VolumeId;

/// How long an agent may take until it has frozen: it first writes back what is dirty, while writers still run. The limit
/// of the hold counts from the freeze, on the node.
const BEGIN: Duration = Duration::from_secs(60);

type Requests = ReceiverStream<HoldRequest>;

/// Opens the call and waits until every volume is frozen or refused.
pub(super) async fn begin(
    client: &AgentClient<Channel>,
    request: impl FnOnce(Requests) -> Result<Request<Requests>, String>,
    hold: &str,
    volumes: &[VolumeId],
    limit: Duration,
    node: &str,
) -> Result<AgentHold, NotHeld> {
    let begin = HoldRequest {
        request: Some(Message::Begin(Begin {
            hold_id: hold.to_owned(),
            volumes: volumes.iter().map(VolumeId::to_string).collect(),
            limit: prost_types::Duration::try_from(limit).ok(),
        })),
    };
    // Our side stays open as long as this sender lives.
    let (ours, requests) = mpsc::channel(1);
    let sent = ours.send(begin).await;
    sent.map_err(|_| NotHeld::because("the call ended before it began"))?;
    let request = request(ReceiverStream::new(requests)).map_err(NotHeld::because)?;
    let mut client = client.clone();
    let begun = async {
        let events = client.hold(request).await;
        let events = events.map_err(NotHeld::from)?.into_inner();
        AgentHold::begin(ours, events, volumes, node).await
    };
    // Dropping the call makes the agent thaw whatever it may have frozen by now.
    timeout(BEGIN, begun).await.unwrap_or_else(|_| {
        Err(NotHeld::because(format!(
            "it did not freeze within {BEGIN:?}"
        )))
    })
}
