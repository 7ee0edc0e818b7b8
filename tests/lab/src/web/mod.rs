//! The doors: requests come in, meet their faults and their latency, are handled, logged, answered.
//!
//! ```text
//! arrived ─► fault before? ─► (reads: half the latency) ─► handled ─► rest of the latency ─► fault after? ─► answered
//! ```
//!
//! A request is handled in a task of its own: a client that goes away undoes nothing.

mod answer;
pub(crate) mod listener;
pub(crate) mod log;
pub(crate) mod tls;

use std::{sync::Arc, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};

pub(crate) use self::answer::Answer;
use self::answer::{common_headers, status_answer};
use crate::{Moment, arm, entra, fault::Action, shared::Shared};

/// Which door a request came through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// Entra and ARM.
    Cloud,
    /// Instance metadata.
    Metadata,
}

/// A request, read.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) number: usize,
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// HTTP/1 with neither a length nor chunks, though its method has a body.
    pub(crate) unmeasured: bool,
    /// As the client addressed it, `host:port`.
    pub(crate) host: String,
    pub(crate) arrived: Moment,
    pub(crate) effects: Effects,
}

/// What faults do to how a request is handled.
#[derive(Clone, Debug, Default)]
pub(crate) struct Effects {
    pub(crate) fail: Option<(String, String)>,
    pub(crate) stay: Duration,
    pub(crate) delete_source: bool,
    pub(crate) deny: Vec<String>,
}

impl Call {
    /// A query parameter, its name without case.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        let found = self
            .query
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// `https://host:port`
    pub(crate) fn base(&self) -> String {
        format!("https://{}", self.host)
    }
}

/// The connection is closed without an answer.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the lab closes this connection")]
pub(crate) struct Closed;

/// One request, from its arrival to its answer.
pub(crate) async fn serve<B>(
    shared: Arc<Shared>,
    door: Door,
    request: Request<B>,
) -> Result<Response<Body>, Closed>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let arrived = Moment::now();
    let (parts, body) = request.into_parts();
    let host = parts.uri.authority().map(ToString::to_string).or_else(|| {
        parts
            .headers
            .get("host")
            .and_then(|host| host.to_str().ok())
            .map(Into::into)
    });
    let body = axum::body::to_bytes(Body::new(body), 4 << 20)
        .await
        .map_err(|_| Closed)?;
    let query = parts.uri.query().unwrap_or_default();
    let measured = ["content-length", "transfer-encoding"]
        .iter()
        .any(|name| parts.headers.contains_key(*name));
    let unmeasured = parts.version < Version::HTTP_2
        && [Method::POST, Method::PUT, Method::PATCH].contains(&parts.method)
        && !measured;
    let call = Call {
        number: 0,
        method: parts.method,
        path: parts.uri.path().into(),
        query: url::form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect(),
        headers: parts.headers,
        body,
        unmeasured,
        host: host.unwrap_or_default(),
        arrived,
        effects: Effects::default(),
    };
    tokio::spawn(answer(shared, door, call))
        .await
        .unwrap_or(Err(Closed))
}

async fn answer(shared: Arc<Shared>, door: Door, mut call: Call) -> Result<Response<Body>, Closed> {
    let (actions, latency) = {
        let mut world = shared.world();
        let actions = world.faults.meet(call.method.as_str(), &call.path);
        call.number = world.log.open(&call, &actions);
        (actions, world.settings.latency)
    };
    let token = door == Door::Metadata || entra::is_entra(&call.path);
    let read = call.method == Method::GET || token;
    let latency = if read { latency.read } else { latency.write };
    let mut later = Duration::ZERO;
    let mut instead = None;
    let (mut close, mut truncated) = (false, false);
    for action in actions {
        match action {
            Action::Status {
                status,
                code,
                message,
                retry_after,
            } => {
                instead = Some(status_answer(token, status, code, message, retry_after));
            }
            Action::CloseBefore => return lost(&shared, &call),
            Action::CloseAfter => close = true,
            Action::Hang { period } => {
                tokio::time::sleep(period).await;
                return lost(&shared, &call);
            }
            Action::Delay { by } => tokio::time::sleep(by).await,
            Action::DelayAnswer { by } => later += by,
            Action::Truncate => truncated = true,
            Action::FailOperation { code, message } => call.effects.fail = Some((code, message)),
            Action::Stay { period } => call.effects.stay += period,
            Action::DeleteSource => call.effects.delete_source = true,
            Action::Deny { action } => call.effects.deny.push(action),
        }
    }
    let begun = tokio::time::Instant::now();
    if call.method == Method::GET {
        tokio::time::sleep(latency / 2).await;
    }
    let answer = match instead {
        Some(answer) => answer,
        None => match door {
            // Azure's front door, before anything reads the request: an empty body, too, must have a length.
            Door::Cloud if call.unmeasured => Answer::empty(StatusCode::LENGTH_REQUIRED),
            Door::Metadata => entra::imds::handle(&shared, &call),
            Door::Cloud if token => entra::handle(&shared, &call),
            Door::Cloud => arm::handle(&shared, &call),
        },
    };
    tokio::time::sleep_until(begun + latency + later).await;
    let answer = common_headers(answer, &call);
    shared
        .world()
        .log
        .close(call.number, Some(answer.status.as_u16()), answer.code());
    if close {
        Err(Closed)
    } else {
        Ok(answer.into_response(truncated))
    }
}

fn lost(shared: &Shared, call: &Call) -> Result<Response<Body>, Closed> {
    shared.world().log.close(call.number, None, None);
    Err(Closed)
}
