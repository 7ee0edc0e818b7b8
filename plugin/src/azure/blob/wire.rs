//! The way of all requests to one storage account: authorised, sent, tried again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use http::{HeaderName, HeaderValue, Uri, header::AUTHORIZATION};
use object_store::{
    ClientOptions, RetryConfig, StaticCredentialProvider,
    azure::{AzureAuthorizer, AzureCredential, MicrosoftAzure, MicrosoftAzureBuilder},
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
    },
};
use tokio::time::Instant;
use url::Url;

use super::{BlobError, access::Access, checksum, key};
use crate::azure::{failure::Failure, retry::Backoff, transport::Transport};

const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");

/// How long an account that has answered before is asked again, from its first failure.
const PATIENCE: Duration = Duration::from_secs(120);
/// And one that never did: its name may be wrong.
const UNKNOWN: Duration = Duration::from_secs(15);
/// The longest until the head of an answer has come, besides what a body takes.
const HEAD: Duration = Duration::from_secs(60);
/// How long the check of a signed URL may take.
const CHECK: Duration = Duration::from_secs(10);
/// The slowest that a body may go out, in bytes a second.
const SLOWEST: u32 = 128 << 10;

/// Sends to one account. Clones share everything.
#[derive(Clone)]
pub(super) struct Wire(Arc<Inner>);

struct Inner {
    /// The account's name.
    account: String,
    /// The blob endpoint, without a slash at its end.
    service: Url,
    access: Access,
    transport: Arc<Transport>,
    /// It has answered, whatever it said.
    known: AtomicBool,
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wire")
            .field("service", &self.0.service.as_str())
            .finish_non_exhaustive()
    }
}

impl Wire {
    pub(super) fn new(
        account: String,
        service: Url,
        access: Access,
        transport: Arc<Transport>,
    ) -> Self {
        Self(Arc::new(Inner {
            account,
            service,
            access,
            transport,
            known: AtomicBool::new(false),
        }))
    }

    /// `object_store`'s requests for one container, on this wire.
    pub(super) fn container(&self, name: &str) -> Result<MicrosoftAzure, BlobError> {
        let unused = AzureCredential::BearerToken("placeholder".to_owned());
        MicrosoftAzureBuilder::new()
            .with_account(&self.0.account)
            .with_endpoint(self.0.service.to_string())
            .with_container_name(name)
            .with_http_connector(self.clone())
            // The wire authorises and tries again, anew with a key that was rotated.
            .with_credentials(Arc::new(StaticCredentialProvider::new(unused)))
            .with_skip_signature(true)
            .with_retry(RetryConfig {
                max_retries: 0,
                ..RetryConfig::default()
            })
            .build()
            .map_err(|error| BlobError::Name {
                what: "container",
                value: format!("{name}: {error}"),
                expected: "3 to 63 lower-case letters, digits and single hyphens",
            })
    }

    /// The account's name.
    pub(super) fn account(&self) -> &str {
        &self.0.account
    }

    /// The blob endpoint.
    pub(super) fn service(&self) -> &Url {
        &self.0.service
    }

    /// What requests are authorised with at the moment.
    pub(super) async fn credential(&self) -> Result<Arc<AzureCredential>, Failure> {
        let deadline = Instant::now() + self.patience();
        self.0.access.credential(deadline).await
    }

    /// Whether Storage refuses a URL with a signature of its own. No answer is no refusal.
    pub(super) async fn refuses(&self, url: &str) -> bool {
        let asked = async {
            let client = self.0.transport.storage().ok()?;
            client.head(url).send().await.ok()
        };
        let answer = tokio::time::timeout(CHECK, asked).await;
        answer.is_ok_and(|answer| answer.is_some_and(|answer| answer.status() == 403))
    }

    /// What a failure is about: the account's name, and the container's and object's.
    pub(super) fn resource(&self, container: &str, key: Option<&str>) -> String {
        let account = &self.0.account;
        match key {
            Some(key) => format!("{key} in container {container} of storage account {account}"),
            None => format!("container {container} of storage account {account}"),
        }
    }

    /// Where a container is.
    pub(super) fn url(&self, container: &str) -> String {
        format!(
            "{}/{container}",
            self.0.service.as_str().trim_end_matches('/')
        )
    }

    /// Sends a request that has no authorisation yet, again while that may help. An answer is one of success, its
    /// body unread.
    pub(super) async fn send(&self, mut request: HttpRequest) -> Result<HttpResponse, Failure> {
        let begun = Instant::now();
        key::sent(request.uri_mut());
        if request.body().content_length() > 0 {
            let checksum = HeaderValue::try_from(checksum::of(request.body()))
                .map_err(|error| Failure::Malformed(error.to_string()))?;
            request.headers_mut().insert(CONTENT_MD5, checksum);
        }
        let mut first_failure = None;
        let mut backoff = Backoff::default();
        let mut renewed = false;
        loop {
            let sent = Instant::now();
            let credential = self.credential().await?;
            let failure = match self.once(request.clone(), &credential).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            if !renewed && self.0.access.renew(&credential, &failure, sent).await {
                renewed = true;
                continue;
            }
            let failing = *first_failure.get_or_insert_with(Instant::now);
            // What a large block takes to an account that is there is no part of its patience.
            let since = if self.is_known() { failing } else { begun };
            let wait = backoff.next(failure.retry_after());
            if !failure.is_transient() || since.elapsed() + wait >= self.patience() {
                return Err(failure);
            }
            tracing::debug!(%failure, ?wait, "Storage is asked again");
            tokio::time::sleep(wait).await;
        }
    }

    /// One attempt, with a date and signature of its own.
    async fn once(
        &self,
        mut request: HttpRequest,
        credential: &AzureCredential,
    ) -> Result<HttpResponse, Failure> {
        self.authorise(&mut request, credential)?;
        let length = u32::try_from(request.body().content_length()).unwrap_or(u32::MAX);
        let limit = HEAD.min(self.patience()) + Duration::from_secs(1) * length / SLOWEST;
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let attempt = async {
            let answer = self.0.transport.storage()?.call(request).await;
            let answer = answer.map_err(|error| Failure::unreached(self.host(), &error))?;
            let status = answer.status().as_u16();
            tracing::trace!(%method, path, status, "asked Storage");
            self.0.known.store(true, Ordering::Relaxed);
            if answer.status().is_success() {
                return Ok(answer);
            }
            let (parts, body) = answer.into_parts();
            let body = body.bytes().await.unwrap_or_default();
            Err(Failure::of_storage(status, &parts.headers, &body))
        };
        tokio::time::timeout(limit, attempt)
            .await
            .unwrap_or_else(|_| {
                self.0.transport.leave_storage();
                Err(Failure::Timeout(limit))
            })
    }

    fn authorise(
        &self,
        request: &mut HttpRequest,
        credential: &AzureCredential,
    ) -> Result<(), Failure> {
        self.check(request.uri(), credential)?;
        AzureAuthorizer::new(credential, &self.0.account)
            .try_authorize(request)
            .map_err(|error| Failure::Malformed(error.to_string()))?;
        // Lower layers log headers at trace, but for those.
        if let Some(value) = request.headers_mut().get_mut(AUTHORIZATION) {
            value.set_sensitive(true);
        }
        Ok(())
    }

    /// Nobody but the account gets to see a signature, and nobody on the way to it a token.
    fn check(&self, uri: &Uri, credential: &AzureCredential) -> Result<(), Failure> {
        let service = &self.0.service;
        let same = Url::parse(&uri.to_string()).is_ok_and(|url| url.origin() == service.origin());
        let is_key = matches!(credential, AzureCredential::AccessKey(_));
        if same && (is_key || service.scheme() == "https") {
            return Ok(());
        }
        Err(Failure::Malformed(format!(
            "a request to {}://{} was to be authorised, where only {service} may see {}",
            uri.scheme_str().unwrap_or_default(),
            uri.host().unwrap_or("nowhere"),
            if is_key {
                "a signature by the account's key"
            } else {
                "the token, and that over https"
            },
        )))
    }

    fn is_known(&self) -> bool {
        self.0.known.load(Ordering::Relaxed)
    }

    fn patience(&self) -> Duration {
        if self.is_known() { PATIENCE } else { UNKNOWN }
    }

    fn host(&self) -> &str {
        self.0.service.host_str().unwrap_or_default()
    }
}

#[async_trait]
impl HttpService for Wire {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        // Its own errors keep neither Storage's code nor Retry-After.
        self.send(request)
            .await
            .map_err(|failure| HttpError::new(HttpErrorKind::Unknown, failure))
    }
}

impl HttpConnector for Wire {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}
