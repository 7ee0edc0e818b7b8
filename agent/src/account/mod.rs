//! Who may ask from afar: service accounts whose token Kubernetes has reviewed for this agent's audience.
//!
//! ```text
//!   token ──► of an accepted account? ──► remembered? ──► within the peer's allowance? ──► reviewed ──► admitted
//!                    │ no                    │ yes              │ no                          │ no
//!                    ▼                       ▼                  ▼                             ▼
//!                 refused          as it was decided         refused                       refused
//! ```
//!
//! What the token says of itself only spares the question; what counts is Kubernetes' answer.

mod allowance;
mod known;
mod name;
mod review;
#[cfg(test)]
pub(crate) mod tests;
mod token;

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use http::HeaderValue;
use thiserror::Error;
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};

pub use self::name::Account;
pub(crate) use self::review::{Review, Reviewer};
use self::{
    allowance::{Allowances, Spent},
    known::{Known, Verdict},
    token::Token,
};

/// What a token must have been made for.
pub(crate) const AUDIENCE: &str = "stillpoint-agent";

/// How long an accepted token is not reviewed again, if it lives so long.
const ACCEPTED: Duration = Duration::from_secs(60);
/// How long a refused one is not.
const REFUSED: Duration = Duration::from_secs(5);
/// How long a caller waits for Kubernetes.
const PATIENCE: Duration = Duration::from_secs(5);
/// Reviews under way at once.
const AT_ONCE: usize = 4;

/// Why a caller is not let in.
#[derive(Clone, Debug, Error)]
pub(crate) enum Refusal {
    #[error("no token: expected the metadata `authorization: Bearer TOKEN`")]
    NoToken,
    #[error(
        "the token is {0}: expected a service account's, by TokenRequest for the audience {AUDIENCE}"
    )]
    Unreadable(&'static str),
    #[error("the agent does not accept {0}; it accepts what --accept (STILLPOINT_ACCEPT) lists")]
    Account(Account),
    #[error("Kubernetes rejects the token for the audience {AUDIENCE}: {0}")]
    Rejected(String),
    #[error("Kubernetes answers for the audiences {0:?}: expected {AUDIENCE}")]
    Audience(Vec<String>),
    #[error(
        "Kubernetes says that the token belongs to {0:?}: expected an account that is accepted"
    )]
    Foreign(String),
    #[error("too many refused tokens from {0}: try again in some seconds")]
    TooMany(IpAddr),
    #[error("Kubernetes cannot be asked about the token: {0}")]
    Unreachable(String),
}

impl Refusal {
    /// All that [`name`](Self::name) may say.
    pub(crate) const NAMES: [&str; 8] = [
        "no_token",
        "unreadable",
        "account",
        "rejected",
        "audience",
        "foreign",
        "too_many",
        "unreachable",
    ];

    /// As metrics name it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::NoToken => "no_token",
            Self::Unreadable(_) => "unreadable",
            Self::Account(_) => "account",
            Self::Rejected(_) => "rejected",
            Self::Audience(_) => "audience",
            Self::Foreign(_) => "foreign",
            Self::TooMany(_) => "too_many",
            Self::Unreachable(_) => "unreachable",
        }
    }
}

/// Decides whose calls are answered.
pub(crate) struct Accounts {
    reviewer: Arc<dyn Reviewer>,
    accepted: Vec<Account>,
    known: Mutex<Known>,
    allowances: Mutex<Allowances>,
    asking: Semaphore,
}

impl Accounts {
    pub(crate) fn new(reviewer: Arc<dyn Reviewer>, accepted: Vec<Account>) -> Self {
        Self {
            reviewer,
            accepted,
            known: Mutex::default(),
            allowances: Mutex::default(),
            asking: Semaphore::new(AT_ONCE),
        }
    }

    /// The account behind the `authorization` of a call from `peer`.
    pub(crate) async fn admit(
        &self,
        peer: IpAddr,
        authorization: Option<&HeaderValue>,
    ) -> Result<Account, Refusal> {
        let read = Token::read(authorization).and_then(|token| {
            if self.accepted.contains(&token.account) {
                Ok(token)
            } else {
                Err(Refusal::Account(token.account))
            }
        });
        let token = match read {
            Ok(token) => token,
            Err(refusal) => {
                self.spend(peer)?;
                tell(peer, &refusal);
                return Err(refusal);
            }
        };
        let slot = self
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .slot(&token.digest)
            .ok_or(Refusal::TooMany(peer))?;
        let verdict = slot.get_or_init(|| self.decide(peer, &token)).await;
        verdict.result.clone()
    }

    async fn decide(&self, peer: IpAddr, token: &Token) -> Verdict {
        // Spent before the question, so that who hangs up has spent it too.
        if let Err(refusal) = self.spend(peer) {
            return Verdict::passing(Err(refusal));
        }
        let result = match timeout(PATIENCE, self.ask(token)).await {
            Ok(Ok(review)) => self.judge(review),
            Ok(Err(reason)) => Err(Refusal::Unreachable(reason)),
            Err(_) => Err(Refusal::Unreachable(format!(
                "no answer within {PATIENCE:?}"
            ))),
        };
        if let Err(refusal) = &result {
            tell(peer, refusal);
        }
        let until = match &result {
            Ok(_) => {
                let left = token.expires.duration_since(SystemTime::now());
                Instant::now() + ACCEPTED.min(left.unwrap_or_default())
            }
            Err(Refusal::Unreachable(_)) => Instant::now(),
            Err(_) => return Verdict::new(result, Instant::now() + REFUSED),
        };
        self.allowances().give_back(peer);
        Verdict::new(result, until)
    }

    async fn ask(&self, token: &Token) -> Result<Review, String> {
        let _turn = self
            .asking
            .acquire()
            .await
            .map_err(|error| error.to_string())?;
        self.reviewer.review(token.secret()).await
    }

    fn judge(&self, review: Review) -> Result<Account, Refusal> {
        if !review.authenticated {
            return Err(Refusal::Rejected(review.error));
        }
        // Without this a server that knows no audiences would let any token in.
        if !review.audiences.iter().any(|seen| seen == AUDIENCE) {
            return Err(Refusal::Audience(review.audiences));
        }
        let accepted = self
            .accepted
            .iter()
            .find(|account| account.user_name() == review.user);
        accepted.cloned().ok_or(Refusal::Foreign(review.user))
    }

    fn spend(&self, peer: IpAddr) -> Result<(), Refusal> {
        match self.allowances().spend(peer) {
            Spent::Yes => return Ok(()),
            Spent::LastRefused => {
                tracing::warn!(%peer, "too many refused calls; no more of them are looked at for some seconds");
            }
            Spent::No => {}
        }
        Err(Refusal::TooMany(peer))
    }

    fn allowances(&self) -> std::sync::MutexGuard<'_, Allowances> {
        self.allowances
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn tell(peer: IpAddr, refusal: &Refusal) {
    tracing::warn!(%peer, reason = %refusal, "call refused");
}
