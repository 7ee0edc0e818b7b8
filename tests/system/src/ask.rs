//! The agent asked directly, by its unix socket.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result, bail};
use futures::{StreamExt as _, stream};
use hyper_util::rt::TokioIo;
use stillpoint_proto::agent::{
    Begin, HoldRequest, StatusRequest, agent_client::AgentClient, hold_event::Event, hold_request,
    refusal::Reason, volume_freeze::Outcome,
};
use tokio::{net::UnixStream, sync::oneshot, time::timeout};
use tonic::transport::{Channel, Endpoint};

const PATIENCE: Duration = Duration::from_secs(10);

async fn connect(socket: &Path) -> Result<AgentClient<Channel>> {
    let mut stream = Some(TokioIo::new(UnixStream::connect(socket).await?));
    let connector = tower::service_fn(move |_| {
        let stream = stream.take().ok_or_else(|| std::io::Error::other("once"));
        std::future::ready(stream)
    });
    let endpoint = Endpoint::from_static("http://agent");
    let channel = endpoint.connect_with_connector(connector).await?;
    Ok(AgentClient::new(channel))
}

/// Fails if the agent does not answer.
///
/// # Errors
/// Why not.
pub async fn status(socket: &Path) -> Result<()> {
    let mut agent = connect(socket).await?;
    timeout(PATIENCE, agent.status(StatusRequest {})).await??;
    Ok(())
}

/// Freezes a volume for a moment; whether that hold lasted. One that rests counts: only an agent in order says so.
///
/// # Errors
/// If the agent refuses for another reason, or breaks off.
pub async fn hold(socket: &Path, volume: &str) -> Result<bool> {
    let mut agent = connect(socket).await?;
    let begin = Begin {
        hold_id: format!("ask-{}", std::process::id()),
        volumes: vec![volume.to_owned()],
        limit: prost_types::Duration::try_from(Duration::from_secs(5)).ok(),
    };
    let request = hold_request::Request::Begin(begin);
    let (release, released) = oneshot::channel::<()>();
    let first = HoldRequest {
        request: Some(request),
    };
    // The stream ends when it is released.
    let open = stream::once(async { drop(released.await) }).filter_map(async |()| None);
    let requests = stream::once(async { first }).chain(open);
    let mut events = agent.hold(requests.boxed()).await?.into_inner();
    let event = timeout(PATIENCE, events.message()).await??;
    let Some(Event::Frozen(frozen)) = event.and_then(|event| event.event) else {
        bail!("no answer");
    };
    let outcome = frozen
        .volumes
        .into_iter()
        .next()
        .and_then(|volume| volume.outcome);
    match outcome.context("no volume")? {
        Outcome::Refused(refusal) if refusal.reason() == Reason::Resting => return Ok(true),
        Outcome::Refused(refusal) => bail!("{}", refusal.message),
        Outcome::Frozen(_) => {}
    }
    drop(release);
    let event = timeout(PATIENCE, events.message()).await??;
    let Some(Event::Thawed(thawed)) = event.and_then(|event| event.event) else {
        bail!("broken off");
    };
    Ok(thawed.volumes.iter().all(|thaw| thaw.held))
}
