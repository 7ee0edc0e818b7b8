//! One Hold call.
//!
//! ```text
//!   Begin ──► freezing ──► Frozen ──► client closes its side ──► thaw ──► Thawed
//!                │            ├─────► limit, stop ─────────────► thaw ──► Thawed
//!                │            └─────► call broken ─────────────► thaw
//!                └─ call broken or closed ──► the freeze is undone as soon as it is done
//! ```

use std::{sync::Arc, time::Duration};

use stillpoint_proto::agent::{
    Begin, Frozen, HoldEvent, HoldRequest, Thawed, hold_event::Event, hold_request,
};
use tokio::{sync::mpsc, time::timeout};
use tonic::{Status, Streaming};

use super::{encode, limit};
use crate::{
    error::HoldError,
    hold::{Hold, Holds, Place, Request},
};

/// A call that says nothing takes the place of one that does.
const BEGINS_WITHIN: Duration = Duration::from_secs(5);

type Events = mpsc::Sender<Result<HoldEvent, Status>>;

/// One call, which takes a place from its first moment.
pub(super) struct Call {
    pub(super) holds: Arc<Holds>,
    pub(super) place: Place,
    pub(super) holder: String,
}

impl Call {
    pub(super) async fn serve(
        self,
        mut requests: Streaming<HoldRequest>,
        events: &Events,
    ) -> Result<(), Status> {
        let first = timeout(BEGINS_WITHIN, requests.message()).await;
        let silent = |_| {
            let message = format!("Begin did not come within {BEGINS_WITHIN:?}");
            Status::deadline_exceeded(message)
        };
        let request = request(first.map_err(silent)??, self.holder)?;
        let mut client = Client { requests, events };
        let hold = tokio::select! {
            biased;
            hold = self.holds.begin(request, self.place) => hold?,
            left = client.leaves() => {
                left?;
                return Err(Status::failed_precondition(
                    "the client closed its side before Frozen: expected it to stay open for as long as the hold shall last",
                ));
            }
        };
        let stopping = |lease: &Result<_, _>| matches!(lease, Err(HoldError::Stopping));
        if hold.volumes.iter().any(|(_, lease)| stopping(lease)) {
            return Err(HoldError::Stopping.into());
        }
        let volumes = hold.volumes.iter().map(encode::freeze).collect();
        client.tell(Event::Frozen(Frozen { volumes })).await;
        if hold.is_empty() {
            return Ok(());
        }
        run(hold, client).await
    }
}

async fn run(hold: Hold, mut client: Client<'_>) -> Result<(), Status> {
    let by_itself = tokio::select! {
        biased;
        left = client.leaves() => match left {
            Ok(()) => false,
            Err(status) => {
                tracing::warn!(hold = hold.id(), reason = status.message(), "hold broken off");
                hold.end(false).await;
                return Err(status);
            }
        },
        () = hold.over() => true,
    };
    let thawed = hold.end(by_itself).await;
    let volumes = thawed
        .into_iter()
        .map(|(volume, outcome)| encode::thaw(volume, outcome))
        .collect();
    client.tell(Event::Thawed(Thawed { volumes })).await;
    Ok(())
}

fn request(first: Option<HoldRequest>, holder: String) -> Result<Request, Status> {
    let begin = first.and_then(|message| message.request);
    let Some(hold_request::Request::Begin(Begin {
        hold_id,
        volumes,
        limit: asked,
    })) = begin
    else {
        return Err(HoldError::Invalid("expected Begin as the first message".into()).into());
    };
    Ok(Request {
        id: hold_id,
        volumes,
        limit: limit("limit", asked)?,
        holder,
    })
}

/// The other side of the call.
struct Client<'a> {
    requests: Streaming<HoldRequest>,
    events: &'a Events,
}

impl Client<'_> {
    /// Waits until the client closes its side; an error if the call is broken in any way.
    async fn leaves(&mut self) -> Result<(), Status> {
        tokio::select! {
            biased;
            () = self.events.closed() => Err(Status::cancelled("the client is gone")),
            message = self.requests.message() => match message? {
                None => Ok(()),
                Some(_) => Err(HoldError::Invalid(
                    "a second message: expected only Begin, then the end of the client's side".into(),
                ).into()),
            },
        }
    }

    async fn tell(&self, event: Event) {
        // If the client is gone, `leaves` says so.
        let _ = self.events.send(Ok(HoldEvent { event: Some(event) })).await;
    }
}
