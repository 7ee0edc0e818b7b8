//! The token for one service, the resource manager or Storage: one login per process, renewed in the background
//! before it expires.

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use azure_core::{
    credentials::{Secret, TokenCredential},
    http::{AsyncRawResponse, HttpClient, Method, Request, headers::Headers, request::Body},
};
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

use super::{
    ConnectError,
    answer::causes,
    cloud::Cloud,
    failure::Failure,
    identity::Identity,
    login_hint::explain,
    retry::Backoff,
    transport::{Transport, lock},
};

/// The longest attempt: the metadata service of a node without one never answers, and the crate asks it again and again.
const ATTEMPT: Duration = Duration::from_secs(15);
/// And the shortest, for who waited for another's login until its own deadline.
const ATTEMPT_AT_LEAST: Duration = Duration::from_secs(1);
/// `azure_identity` itself returns its cached token until then.
const EARLY: Duration = Duration::from_secs(295);
const EARLY_AGAIN: Duration = Duration::from_secs(15);
/// A request that takes this long still has a valid token.
const ENOUGH: Duration = Duration::from_secs(120);

/// Hands out tokens. Its `Debug` shows who logs in, never with what.
pub(super) struct Tokens {
    identity: Identity,
    cloud: Cloud,
    scope: String,
    wire: Arc<LoginWire>,
    credential: Mutex<Arc<dyn TokenCredential>>,
    current: Mutex<Option<Token>>,
    login: tokio::sync::Mutex<()>,
    tried_early: Mutex<Option<Instant>>,
}

#[derive(Clone)]
struct Token {
    secret: Secret,
    begun: Instant,
    life: Duration,
}

impl Token {
    fn left(&self) -> Duration {
        self.life.saturating_sub(self.begun.elapsed())
    }

    /// Tokens that live shortly are no use if they are renewed all the time.
    fn is_good(&self) -> bool {
        self.left() > ENOUGH.min(self.life / 5)
    }

    fn is_old(&self) -> bool {
        self.left() < EARLY.min(self.life / 3)
    }
}

impl Tokens {
    pub(super) fn new(
        identity: Identity,
        cloud: Cloud,
        scope: String,
        transport: Arc<Transport>,
    ) -> Result<Self, ConnectError> {
        let wire = Arc::new(LoginWire {
            transport,
            last: Mutex::default(),
        });
        let credential = identity.credential(&cloud, wire.clone())?;
        Ok(Self {
            scope,
            identity,
            cloud,
            wire,
            credential: Mutex::new(credential),
            current: Mutex::default(),
            login: tokio::sync::Mutex::default(),
            tried_early: Mutex::default(),
        })
    }

    /// The same identity's token for another service.
    pub(super) fn of_scope(&self, scope: &str) -> Result<Self, ConnectError> {
        Self::new(
            self.identity.clone(),
            self.cloud.clone(),
            scope.to_owned(),
            self.wire.transport.clone(),
        )
    }

    /// Who logs in.
    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The token that is there, if it has not expired; never waits.
    pub(super) fn at_hand(&self) -> Option<Secret> {
        let token = lock(&self.current).clone()?;
        (token.left() > Duration::ZERO).then_some(token.secret)
    }

    /// Sees to it that a token is at hand and good for a while; logs in if there is none.
    pub(super) async fn ensure(self: &Arc<Self>, deadline: Instant) -> Result<(), Failure> {
        let current = lock(&self.current).clone();
        match current {
            Some(token) if token.is_good() => {
                if token.is_old() && self.may_try_early(token.life) {
                    let tokens = self.clone();
                    tokio::spawn(async move { tokens.renew_early().await });
                }
                Ok(())
            }
            _ => {
                let _one_login = self.login.lock().await;
                if lock(&self.current).as_ref().is_some_and(Token::is_good) {
                    return Ok(());
                }
                self.log_in(deadline).await
            }
        }
    }

    /// Not at every call, should it not work.
    fn may_try_early(&self, life: Duration) -> bool {
        let mut tried = lock(&self.tried_early);
        let distance = EARLY_AGAIN.min(life / 10);
        if tried.is_some_and(|at| at.elapsed() < distance) {
            return false;
        }
        *tried = Some(Instant::now());
        true
    }

    async fn renew_early(&self) {
        let Ok(_one_login) = self.login.try_lock() else {
            return;
        };
        if !lock(&self.current).as_ref().is_some_and(Token::is_old) {
            return;
        }
        if let Err(error) = self.log_in(Instant::now() + ATTEMPT).await {
            tracing::warn!(%error, "the token for Azure could not be renewed early");
        }
    }

    /// Azure did not accept this token although it has not expired: forget it, also where the crate keeps it.
    pub(super) fn reject(&self, secret: &Secret) {
        let mut current = lock(&self.current);
        if current
            .as_ref()
            .is_some_and(|token| token.secret.secret() == secret.secret())
        {
            *current = None;
            if let Ok(fresh) = self.identity.credential(&self.cloud, self.wire.clone()) {
                *lock(&self.credential) = fresh;
            }
        }
    }

    async fn log_in(&self, deadline: Instant) -> Result<(), Failure> {
        let begun = Instant::now();
        let mut backoff = Backoff::default();
        loop {
            let credential = lock(&self.credential).clone();
            let scopes = [self.scope.as_str()];
            let asked = Instant::now();
            *lock(&self.wire.last) = None;
            let patience = deadline
                .saturating_duration_since(asked)
                .clamp(ATTEMPT_AT_LEAST, ATTEMPT);
            let attempt = tokio::time::timeout(patience, credential.get_token(&scopes, None)).await;
            let message = match attempt {
                Ok(Ok(token)) => {
                    let left = token.expires_on - azure_core::time::OffsetDateTime::now_utc();
                    let life = Duration::try_from(left).unwrap_or_default();
                    tracing::debug!(identity = %self.identity, ?life, "logged in to Azure");
                    *lock(&self.current) = Some(Token {
                        secret: token.token,
                        begun: asked,
                        life,
                    });
                    return Ok(());
                }
                Ok(Err(error)) => causes(&error),
                Err(_) => format!("no answer within {patience:.1?}"),
            };
            let last = lock(&self.wire.last).clone();
            let transient = match &last {
                Some(failure) => failure.is_transient(),
                None => attempt_timed_out(&message),
            };
            let wait = backoff.next(last.as_ref().and_then(Failure::retry_after));
            let left = deadline.saturating_duration_since(Instant::now());
            if !transient || wait >= left {
                return Err(self.refusal(&message, last.as_ref(), begun.elapsed()));
            }
            tracing::debug!(%message, ?wait, "the login is tried again");
            tokio::time::sleep(wait).await;
        }
    }

    fn refusal(&self, message: &str, last: Option<&Failure>, after: Duration) -> Failure {
        let place = if self.identity.is_managed() {
            "the node's metadata service".to_owned()
        } else {
            self.cloud.authority.to_string()
        };
        Failure::Login(format!(
            "{place} gave no token for {} ({}) after {after:.1?}: {}",
            self.identity,
            self.identity.origin(),
            explain(message, last, self.identity.is_managed()),
        ))
    }
}

fn attempt_timed_out(message: &str) -> bool {
    message.starts_with("no answer within")
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokens({})", self.identity)
    }
}

/// `azure_identity`'s way to the network; remembers how the last request failed.
#[derive(Debug)]
struct LoginWire {
    transport: Arc<Transport>,
    last: Mutex<Option<Failure>>,
}

#[async_trait]
impl HttpClient for LoginWire {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let mut headers = HeaderMap::new();
        for (name, value) in request.headers().iter() {
            if let (Ok(name), Ok(mut value)) = (
                HeaderName::try_from(name.as_str()),
                HeaderValue::try_from(value.as_str()),
            ) {
                // App Service's identity header is a secret; lower layers log what is not marked.
                value.set_sensitive(true);
                headers.insert(name, value);
            }
        }
        let body = match request.body() {
            Body::Bytes(bytes) => bytes.clone(),
            Body::SeekableStream(_) => bytes::Bytes::new(),
        };
        let method = match request.method() {
            Method::Get => http::Method::GET,
            _ => http::Method::POST,
        };
        let answer = self
            .transport
            .send(method, request.url().clone(), headers, body)
            .await
            .map_err(|failure| {
                *lock(&self.last) = Some(failure.clone());
                azure_core::Error::new(azure_core::error::ErrorKind::Io, failure)
            })?;
        if answer.status >= 300 {
            let failure = Failure::of_answer(answer.status, &answer.headers, &answer.body);
            *lock(&self.last) = Some(failure);
        }
        Ok(AsyncRawResponse::from_bytes(
            answer.status.into(),
            Headers::new(),
            answer.body,
        ))
    }
}
