//! Operations that Azure accepted and carries out later.
//!
//! ```text
//! reply ── 200/201/204, nothing to follow, state Succeeded or none ──────────────► done
//!   └── Azure-AsyncOperation, else Location, else (or if those are not to be had) the resource itself
//!         ├── running ── wait ──┐
//!         ├── Succeeded / gone ─┼──► done
//!         └── Failed, Canceled ─┴──► AzureError::Failed
//! ```

use std::{fmt::Display, future::Future, time::Duration};

use serde::Deserialize;
use tokio::time::Instant;
use url::Url;

use super::{
    bucket::Kind,
    core::{Core, Reply, Terms},
    failure::Failure,
    pace::Pace,
};
use crate::{model::ProvisioningState, ports::AzureError};

/// From then on Azure's Retry-After counts, or else this.
const PATIENT: Duration = Duration::from_secs(10);
const LEISURE: Duration = Duration::from_secs(2);

/// How long each sort of operation takes here.
#[derive(Debug, Default)]
pub(super) struct Paces {
    pub(super) update: Pace,
    pub(super) snapshot_delete: Pace,
    pub(super) disk_create: Pace,
    pub(super) disk_delete: Pace,
}

/// One operation to wait for.
pub(super) struct Following<'a> {
    pub(super) resource: &'a (dyn Display + Sync),
    pub(super) subscription: &'a str,
    pub(super) pace: &'a Pace,
    pub(super) within: Duration,
    pub(super) sent: Instant,
}

impl Core {
    /// Waits until the operation that `reply` began has ended well. `probe` looks at the resource itself.
    pub(super) async fn follow<F>(
        &self,
        following: Following<'_>,
        reply: Reply,
        probe: impl Fn() -> F + Send,
    ) -> Result<(), AzureError>
    where
        F: Future<Output = Result<ProvisioningState, AzureError>> + Send,
    {
        let Following {
            resource,
            subscription,
            pace,
            within,
            sent,
        } = following;
        let mut state = state_of_reply(&reply);
        let mut asked = reply.retry_after;
        let mut tracks = Track::of(&reply, |url| self.wire.owns(url));
        let mut least = Duration::ZERO;
        let mut looked = sent;
        loop {
            match state {
                Followed::Done => {
                    pace.learn(least, looked.duration_since(sent).max(least));
                    return Ok(());
                }
                Followed::Failed { code, message } => {
                    return Err(AzureError::Failed {
                        resource: resource.to_string(),
                        code,
                        message,
                    });
                }
                Followed::Running => least = looked.duration_since(sent),
            }
            let elapsed = sent.elapsed();
            if elapsed >= within {
                return Err(AzureError::Unanswered {
                    resource: resource.to_string(),
                    message: "Azure's operation still runs".to_owned(),
                    after: elapsed,
                });
            }
            let fill = self.budget(subscription).fill(Kind::Read);
            let wait = if elapsed < PATIENT {
                pace.next(elapsed, fill)
            } else {
                asked.unwrap_or(LEISURE)
            };
            tokio::time::sleep(wait.min(within - elapsed)).await;
            looked = Instant::now();
            let seen = match tracks.first() {
                Some(track) => self.look(track, subscription, within).await,
                None => probe().await.map(|state| (state.into(), None)).map_err(Err),
            };
            match seen {
                Ok((next, retry_after)) => (state, asked) = (next, retry_after),
                // A role may lack `locations/DiskOperations/read`; Azure forgets operations after a while.
                Err(Ok(failure)) if matches!(failure.status(), Some(400..=404 | 410)) => {
                    tracing::debug!(%failure, "the operation cannot be followed, the resource is");
                    tracks.remove(0);
                    state = Followed::Running;
                }
                Err(Ok(failure)) => return Err(failure.into_error(&resource, sent.elapsed())),
                Err(Err(error)) => return Err(error),
            }
        }
    }

    /// Azure's own words about an operation that failed, for a snapshot that only says so.
    pub(super) async fn failure_of(&self, operation: &Url) -> Option<(String, String)> {
        let limit = Duration::from_secs(1);
        let reply = self.once(limit, self.wire.get(operation)).await.ok()?;
        match status_document(&reply) {
            Ok(Followed::Failed { code, message }) => Some((code, message)),
            _ => None,
        }
    }

    async fn look(
        &self,
        track: &Track,
        subscription: &str,
        within: Duration,
    ) -> Result<(Followed, Option<Duration>), Result<Failure, AzureError>> {
        let (Track::Status(url) | Track::Monitor(url)) = track;
        let terms = Terms {
            kind: Kind::Read,
            subscription,
            reserved: false,
            within,
        };
        let monitored = |failure: &Failure| {
            let final_answer = matches!(track, Track::Monitor(_)) && !failure.is_transient();
            final_answer && !matches!(failure.status(), Some(400..=404 | 410) | None)
        };
        match self.call(terms, || self.wire.get(url)).await {
            Ok(reply) => {
                let state = match track {
                    Track::Status(_) => status_document(&reply).map_err(Ok)?,
                    Track::Monitor(_) if reply.status == 202 => Followed::Running,
                    Track::Monitor(_) => state_of_body(&reply.body),
                };
                Ok((state, reply.retry_after))
            }
            // A monitor ends with the answer that the request itself would have had.
            Err(failed) if monitored(&failed.failure) => Ok((
                Followed::Failed {
                    code: failed.failure.status().unwrap_or_default().to_string(),
                    message: failed.failure.to_string(),
                },
                None,
            )),
            Err(failed) => Err(Ok(failed.failure)),
        }
    }
}

/// Where an operation's state is to be had, in order of preference.
enum Track {
    Status(Url),
    Monitor(Url),
}

impl Track {
    fn of(reply: &Reply, trusted: impl Fn(&Url) -> bool) -> Vec<Self> {
        let status = reply.operation.clone().filter(|url| trusted(url));
        let monitor = reply.location.clone().filter(|url| trusted(url));
        status
            .map(Self::Status)
            .into_iter()
            .chain(monitor.map(Self::Monitor))
            .take(1)
            .collect()
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Followed {
    Running,
    Done,
    Failed { code: String, message: String },
}

impl From<ProvisioningState> for Followed {
    fn from(state: ProvisioningState) -> Self {
        match state {
            ProvisioningState::Succeeded => Self::Done,
            ProvisioningState::Running(_) => Self::Running,
            ProvisioningState::Failed(state) => Self::Failed {
                message: format!("its provisioningState is {state}"),
                code: state,
            },
        }
    }
}

fn state_of_reply(reply: &Reply) -> Followed {
    if reply.status == 202 || reply.operation.is_some() {
        Followed::Running
    } else {
        state_of_body(&reply.body)
    }
}

#[derive(Deserialize)]
struct Resource {
    properties: Option<ResourceProperties>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceProperties {
    provisioning_state: Option<String>,
}

/// Of a resource, or of nothing.
fn state_of_body(body: &[u8]) -> Followed {
    serde_json::from_slice::<Resource>(body)
        .ok()
        .and_then(|resource| resource.properties?.provisioning_state)
        .map_or(Followed::Done, |state| parse_state(&state).into())
}

/// Azure's word for how far a resource is.
pub(super) fn parse_state(state: &str) -> ProvisioningState {
    if state.eq_ignore_ascii_case("Succeeded") {
        ProvisioningState::Succeeded
    } else if ["Failed", "Canceled", "Cancelled"]
        .iter()
        .any(|end| state.eq_ignore_ascii_case(end))
    {
        ProvisioningState::Failed(state.to_owned())
    } else {
        ProvisioningState::Running(state.to_owned())
    }
}

#[derive(Deserialize)]
struct Status {
    status: String,
    error: Option<StatusError>,
}

#[derive(Deserialize)]
struct StatusError {
    code: Option<String>,
    message: Option<String>,
}

fn status_document(reply: &Reply) -> Result<Followed, Failure> {
    let Status { status, error } = serde_json::from_slice(&reply.body)
        .map_err(|error| Failure::Malformed(format!("an operation's status is odd: {error}")))?;
    Ok(match (parse_state(&status).into(), error) {
        (Followed::Failed { code, message }, Some(error)) => Followed::Failed {
            code: error.code.unwrap_or(code),
            message: error.message.unwrap_or(message),
        },
        (state, _) => state,
    })
}
