//! The gRPC service: decodes requests, runs the holds, encodes what became of them.

mod encode;
mod stream;

use std::{path::Path, sync::Arc, time::Duration};

use stillpoint_proto::agent::{
    FreezeRequest, FreezeResponse, HoldEvent, HoldRequest, StatusRequest, StatusResponse,
    ThawRequest, ThawResponse, agent_server::Agent,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::{door, error::HoldError, hold::Holds, journal::Journal, ttl::TtlHolds};

/// What answers at every door.
pub(crate) struct Service {
    pub(crate) node: String,
    pub(crate) holds: Arc<Holds>,
    pub(crate) ttl: TtlHolds,
    pub(crate) journal: Journal,
}

#[tonic::async_trait]
impl Agent for Service {
    type HoldStream = ReceiverStream<Result<HoldEvent, Status>>;

    async fn hold(
        &self,
        request: Request<Streaming<HoldRequest>>,
    ) -> Result<Response<Self::HoldStream>, Status> {
        let holder = door::holder(&request);
        let place = self.holds.place()?;
        let (events, answer) = mpsc::channel(2);
        let call = stream::Call {
            holds: self.holds.clone(),
            place,
            holder,
        };
        tokio::spawn(async move {
            if let Err(status) = call.serve(request.into_inner(), &events).await {
                // Whoever asked may be gone.
                let _ = events.send(Err(status)).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(answer)))
    }

    async fn freeze(
        &self,
        request: Request<FreezeRequest>,
    ) -> Result<Response<FreezeResponse>, Status> {
        only_local(&request)?;
        let holder = door::holder(&request);
        let request = request.into_inner();
        let ttl = limit("ttl", request.ttl)?;
        let (mount, span) = self
            .ttl
            .freeze(Path::new(&request.path), ttl, holder)
            .await?;
        Ok(Response::new(FreezeResponse {
            frozen: Some(encode::filesystem(&mount, span, span.deadline)),
        }))
    }

    async fn thaw(&self, request: Request<ThawRequest>) -> Result<Response<ThawResponse>, Status> {
        only_local(&request)?;
        let request = request.into_inner();
        let (volume, outcome) = self.ttl.thaw(Path::new(&request.path)).await?;
        Ok(Response::new(ThawResponse {
            thawed: Some(encode::thaw(volume, outcome)),
        }))
    }

    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        let volumes = self.holds.volumes().await?;
        let journal = self.journal.clone();
        let entries = self.holds.looking(move || journal.entries()).await?;
        let entries = entries.map_err(|error| HoldError::Node(format!("the journal: {error}")))?;
        let entries = entries.into_iter().filter_map(|(_, entry)| entry);
        Ok(Response::new(StatusResponse {
            node: self.node.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            mounts: volumes.into_iter().map(encode::mount).collect(),
            holds: self.holds.list().into_iter().map(encode::hold).collect(),
            journal: entries.map(encode::journal).collect(),
        }))
    }
}

fn only_local<T>(request: &Request<T>) -> Result<(), Status> {
    if door::is_local(request) {
        return Ok(());
    }
    Err(Status::permission_denied(
        "Freeze and Thaw are for the node's own unix socket: use Hold",
    ))
}

/// A limit from the wire; whether it is within its range is for the hold to say.
fn limit(field: &'static str, duration: Option<prost_types::Duration>) -> Result<Duration, Status> {
    let error = |seen: String| Status::from(HoldError::Limit { field, seen });
    let duration = duration.ok_or_else(|| error("missing".into()))?;
    Duration::try_from(duration).map_err(|_| error(duration.to_string()))
}
