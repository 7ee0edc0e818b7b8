//! What all locations of one identity share: connections, token, request budget, what was learned.

use std::{
    fmt::Display,
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

use azure_core_021::{RetryOptions, TransportOptions};
use azure_mgmt_compute::package_2024_07_01::{Client, disks, snapshots};
use bytes::Bytes;
use tokio::time::Instant;
use url::Url;

use super::{
    ConnectError,
    bucket::Kind,
    budget::Budget,
    cloud::Cloud,
    failure::Failure,
    identity::Identity,
    operation::Paces,
    retry::Backoff,
    tokens::Tokens,
    transport::{Transport, lock},
    watch::Watch,
    wire::{Placeholder, Wire},
};
use crate::ports::AzureError;

/// One attempt to read, and to write.
const READ: Duration = Duration::from_secs(10);
const WRITE: Duration = Duration::from_secs(30);

/// What a token for Storage is asked for, in all clouds.
const STORAGE: &str = "https://storage.azure.com/.default";

/// See the module.
pub(super) struct Core {
    client: Client,
    storage_tokens: Mutex<Option<Arc<Tokens>>>,
    pub(super) wire: Arc<Wire>,
    pub(super) paces: Paces,
    pub(super) watch: Watch,
}

/// A successful answer.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) operation: Option<Url>,
    pub(super) location: Option<Url>,
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Bytes,
}

/// How a call with its retries failed.
pub(super) struct CallFailure {
    pub(super) failure: Failure,
    pub(super) after: Duration,
    /// An attempt before the last may have been carried out.
    pub(super) ambiguous: bool,
}

impl CallFailure {
    pub(super) fn about(self, resource: &dyn Display) -> AzureError {
        self.failure.into_error(resource, self.after)
    }
}

/// What a call spends, and how long it may take with its retries.
pub(super) struct Terms<'a> {
    pub(super) kind: Kind,
    pub(super) subscription: &'a str,
    /// It follows a cut and has its room already.
    pub(super) reserved: bool,
    pub(super) within: Duration,
}

impl Core {
    pub(super) fn new(
        identity: Identity,
        cloud: Cloud,
        ca_cert: Option<&str>,
    ) -> Result<Self, ConnectError> {
        let transport = Transport::shared(ca_cert)?;
        let resource_manager = cloud.resource_manager.clone();
        let scope = cloud.scope();
        let tokens = Tokens::new(identity, cloud, scope.clone(), transport.clone())?;
        let tokens = Arc::new(tokens);
        let wire = Arc::new(Wire::new(resource_manager.clone(), transport, tokens));
        let options = azure_core_021::ClientOptions::new(TransportOptions::new(wire.clone()))
            .retry(RetryOptions::none());
        Ok(Self {
            client: Client::new(
                resource_manager,
                Arc::new(Placeholder),
                vec![scope],
                options,
            ),
            storage_tokens: Mutex::default(),
            wire,
            paces: Paces::default(),
            watch: Watch::default(),
        })
    }

    /// The identity's tokens for Storage.
    pub(super) fn storage_tokens(&self) -> Result<Arc<Tokens>, ConnectError> {
        let mut known = lock(&self.storage_tokens);
        if let Some(tokens) = known.as_ref() {
            return Ok(Arc::clone(tokens));
        }
        let made = Arc::new(self.wire.tokens.of_scope(STORAGE)?);
        *known = Some(Arc::clone(&made));
        Ok(made)
    }

    pub(super) fn disks(&self) -> disks::Client {
        self.client.disks_client()
    }

    pub(super) fn snapshots(&self) -> snapshots::Client {
        self.client.snapshots_client()
    }

    pub(super) fn budget(&self, subscription: &str) -> Arc<Budget> {
        self.wire.budget(subscription)
    }

    /// One attempt, with its own limit. After a hang the next one gets a new connection.
    pub(super) async fn once<R>(
        &self,
        limit: Duration,
        request: impl Future<Output = azure_core_021::Result<R>>,
    ) -> Result<Reply, Failure>
    where
        R: Into<azure_core_021::Response>,
    {
        match tokio::time::timeout(limit, request).await {
            Ok(Ok(response)) => reply(response.into()).await,
            Ok(Err(error)) => Err(Failure::of_core(error)),
            Err(_) => {
                self.wire.transport.leave_connections();
                Err(Failure::Timeout(limit))
            }
        }
    }

    /// Tries until it works, fails for good, or the time is over.
    pub(super) async fn call<R, F>(
        &self,
        terms: Terms<'_>,
        request: impl Fn() -> F + Send,
    ) -> Result<Reply, CallFailure>
    where
        R: Into<azure_core_021::Response>,
        F: Future<Output = azure_core_021::Result<R>> + Send,
    {
        let begun = Instant::now();
        let deadline = begun + terms.within;
        let budget = self.budget(terms.subscription);
        let mut backoff = Backoff::default();
        let mut ambiguous = false;
        let mut rejected = false;
        let attempt_limit = match terms.kind {
            Kind::Read => READ,
            Kind::Write | Kind::Delete => WRITE,
        };
        loop {
            let failed = |failure, ambiguous| CallFailure {
                failure,
                after: begun.elapsed(),
                ambiguous,
            };
            if let Err(failure) = self.wire.tokens.ensure(deadline).await {
                return Err(failed(failure, ambiguous));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let room = async {
                if terms.reserved {
                    budget.acquire_reserved(terms.kind).await;
                } else {
                    budget.acquire(terms.kind).await;
                }
            };
            if tokio::time::timeout(left, room).await.is_err() {
                return Err(failed(over_budget(terms.within), ambiguous));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let attempt = self.once(attempt_limit.min(left), request()).await;
            let failure = match attempt {
                Ok(reply) => return Ok(reply),
                Err(failure) => failure,
            };
            let another_token = failure.status() == Some(401) && !rejected;
            rejected |= another_token;
            let wait = if another_token {
                Duration::ZERO
            } else {
                backoff.next(failure.retry_after())
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if !(failure.is_transient() || another_token) || wait >= left {
                return Err(failed(failure, ambiguous));
            }
            ambiguous |= failure.is_ambiguous();
            tracing::debug!(%failure, ?wait, "Azure is asked again");
            tokio::time::sleep(wait).await;
        }
    }
}

fn over_budget(within: Duration) -> Failure {
    Failure::Http {
        status: 429,
        code: "TooManyRequests".to_owned(),
        message: format!(
            "no room in the subscription's request limits within {within:?} (`apiTimeout`)"
        ),
        retry_after: None,
    }
}

async fn reply(response: azure_core_021::Response) -> Result<Reply, Failure> {
    let (status, headers, body) = response.deconstruct();
    let text = |name: &'static str| {
        headers.get_optional_string(&azure_core_021::headers::HeaderName::from_static(name))
    };
    let address = |name| text(name).and_then(|value| Url::parse(&value).ok());
    let retry_after = text("retry-after").and_then(|value| value.trim().parse().ok());
    Ok(Reply {
        status: status.into(),
        operation: address("azure-asyncoperation"),
        location: address("location"),
        retry_after: retry_after.map(Duration::from_secs),
        body: body.collect().await.map_err(Failure::of_core)?,
    })
}
