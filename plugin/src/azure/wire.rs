//! The way of `azure_mgmt_compute`'s requests to the resource manager.
//!
//! `azure_core` 0.21 logs the Authorization header (RUSTSEC-2026-0275), so it only ever sees a placeholder;
//! the token is put in here, for the configured resource manager and nobody else.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use azure_core_021::{
    Body, HttpClient, Method, Request, Response, StatusCode,
    auth::{AccessToken, TokenCredential},
    error::ErrorKind,
    headers::{HeaderName, HeaderValue, Headers},
};
use bytes::Bytes;
use http::HeaderMap;
use url::Url;

use super::{
    bucket::Kind,
    budget::Budget,
    failure::Failure,
    tokens::Tokens,
    transport::{Answer, Transport, lock},
};
use crate::model::ResourceGroup;

/// Sends to one resource manager.
#[derive(Debug)]
pub(super) struct Wire {
    resource_manager: Url,
    pub(super) transport: Arc<Transport>,
    pub(super) tokens: Arc<Tokens>,
    budgets: Mutex<HashMap<String, Arc<Budget>>>,
}

impl Wire {
    pub(super) fn new(
        resource_manager: Url,
        transport: Arc<Transport>,
        tokens: Arc<Tokens>,
    ) -> Self {
        Self {
            resource_manager,
            transport,
            tokens,
            budgets: Mutex::default(),
        }
    }

    /// The request budget of a subscription.
    pub(super) fn budget(&self, subscription: &str) -> Arc<Budget> {
        lock(&self.budgets)
            .entry(subscription.to_ascii_lowercase())
            .or_insert_with(|| Arc::new(Budget::new()))
            .clone()
    }

    /// Where a group's snapshots are listed. The crate's own builder only streams through its models.
    pub(super) fn list_of(&self, group: &ResourceGroup) -> Url {
        self.url(
            &format!("{group}/providers/Microsoft.Compute/snapshots"),
            "api-version=2024-03-02",
        )
    }

    /// Where a subscription's snapshots are listed.
    pub(super) fn list_of_all(&self, subscription: &str) -> Url {
        self.url(
            &format!("/subscriptions/{subscription}/providers/Microsoft.Compute/snapshots"),
            "api-version=2024-03-02",
        )
    }

    /// Where the kinds of resources are listed that a subscription can have in a region.
    pub(super) fn list_of_skus(&self, subscription: &str, region: &str) -> Url {
        let mut url = self.url(
            &format!("/subscriptions/{subscription}/providers/Microsoft.Compute/skus"),
            "api-version=2021-07-01",
        );
        url.query_pairs_mut()
            .append_pair("$filter", &format!("location eq '{region}'"));
        url
    }

    /// An address of the resource manager.
    pub(super) fn url(&self, path: &str, query: &str) -> Url {
        let mut url = self.resource_manager.clone();
        url.set_path(path);
        url.set_query(Some(query));
        url
    }

    /// GET of an address that the resource manager gave us: a next page, an operation.
    pub(super) async fn get(&self, url: &Url) -> azure_core_021::Result<Response> {
        self.execute_request(&Request::new(url.clone(), Method::Get))
            .await
    }

    /// POST without a body.
    pub(super) async fn post(&self, url: &Url) -> azure_core_021::Result<Response> {
        self.execute_request(&Request::new(url.clone(), Method::Post))
            .await
    }

    /// Whether an address is the resource manager's.
    pub(super) fn owns(&self, url: &Url) -> bool {
        url.scheme() == "https" && url.origin() == self.resource_manager.origin()
    }

    /// Opens a connection if there has been silence for so long that there may be none, without a token
    /// and so without cost.
    pub(super) async fn warm(&self) {
        const COLD: std::time::Duration = std::time::Duration::from_secs(30);
        if self
            .transport
            .silence()
            .is_some_and(|silence| silence < COLD)
        {
            return;
        }
        let url = self.resource_manager.clone();
        let asked = self
            .transport
            .send(http::Method::HEAD, url, HeaderMap::new(), Bytes::new());
        if let Err(error) = asked.await {
            tracing::debug!(%error, "no connection to the resource manager yet");
        }
    }

    async fn send(&self, request: &Request) -> Result<Answer, Failure> {
        let url = request.url();
        if !self.owns(url) {
            return Err(Failure::Malformed(format!(
                "an address of {} was given, where only {} may see the token",
                url.host_str().unwrap_or("nowhere"),
                self.resource_manager
            )));
        }
        let (method, kind) = match request.method() {
            Method::Get | Method::Head => (http::Method::GET, Kind::Read),
            Method::Put => (http::Method::PUT, Kind::Write),
            Method::Patch => (http::Method::PATCH, Kind::Write),
            Method::Delete => (http::Method::DELETE, Kind::Delete),
            _ => (http::Method::POST, Kind::Write),
        };
        let secret = self
            .tokens
            .at_hand()
            .ok_or_else(|| Failure::Login("the token for Azure has expired".to_owned()))?;
        let mut headers = plain_headers(request.headers());
        let mut bearer = http::HeaderValue::try_from(format!("Bearer {}", secret.secret()))
            .map_err(|_| Failure::Login("the token for Azure is not a header's text".to_owned()))?;
        // Lower layers log headers at trace, but for those.
        bearer.set_sensitive(true);
        headers.insert(http::header::AUTHORIZATION, bearer);
        let body = match request.body() {
            Body::Bytes(bytes) => without_nulls(bytes),
            Body::SeekableStream(_) => {
                return Err(Failure::Malformed("a stream cannot be sent".to_owned()));
            }
        };
        let under_way = self.budget(subscription_of(url)).sent(kind);
        let answer = self
            .transport
            .send(method.clone(), url.clone(), headers, body)
            .await
            .map_err(with_place)?;
        under_way.answered(answer.status, &answer.headers);
        let (path, status) = (url.path(), answer.status);
        match kind {
            // Polls are many.
            Kind::Read => tracing::trace!(%method, path, status, "asked Azure"),
            Kind::Write | Kind::Delete => tracing::debug!(%method, path, status, "asked Azure"),
        }
        if answer.status == 401 {
            self.tokens.reject(&secret);
        }
        Ok(answer)
    }
}

#[async_trait]
impl HttpClient for Wire {
    async fn execute_request(&self, request: &Request) -> azure_core_021::Result<Response> {
        let fail = |failure| azure_core_021::Error::new(ErrorKind::Io, failure);
        let answer = self.send(request).await.map_err(fail)?;
        // Its own error keeps neither Retry-After nor a short text.
        if !(200..300).contains(&answer.status) {
            let failure = Failure::of_answer(answer.status, &answer.headers, &answer.body);
            return Err(fail(failure));
        }
        let status = StatusCode::try_from(answer.status)
            .map_err(|_| fail(Failure::Malformed(format!("HTTP status {}", answer.status))))?;
        let body = futures::stream::once(futures::future::ready(Ok(answer.body)));
        Ok(Response::new(
            status,
            kept_headers(&answer.headers),
            Box::pin(body),
        ))
    }
}

/// Says what leads there, for an address that may be wrong.
fn with_place(failure: Failure) -> Failure {
    match failure {
        Failure::Connection(message) => Failure::Connection(format!(
            "{message} (its address comes from AZURE_CLOUD_NAME or the location's \
             `resourceManagerEndpoint`, trust in it from the system or `caCert`)"
        )),
        other => other,
    }
}

/// All but the placeholder.
fn plain_headers(headers: &Headers) -> HeaderMap {
    headers
        .iter()
        .filter(|(name, _)| !name.as_str().eq_ignore_ascii_case("authorization"))
        .filter_map(|(name, value)| {
            let name = http::HeaderName::try_from(name.as_str()).ok()?;
            Some((name, http::HeaderValue::try_from(value.as_str()).ok()?))
        })
        .collect()
}

fn kept_headers(headers: &HeaderMap) -> Headers {
    let mut kept = Headers::new();
    for name in ["azure-asyncoperation", "date", "location", "retry-after"] {
        if let Some(value) = headers.get(name).and_then(|value| value.to_str().ok()) {
            kept.insert(
                HeaderName::from_static(name),
                HeaderValue::from(value.to_owned()),
            );
        }
    }
    kept
}

/// The crate writes absent times as null, although they are Azure's to set.
fn without_nulls(body: &Bytes) -> Bytes {
    fn strip(value: &mut serde_json::Value) {
        if let serde_json::Value::Object(fields) = value {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(strip);
        }
    }
    let Ok(mut value) = serde_json::from_slice(body) else {
        return body.clone();
    };
    strip(&mut value);
    Bytes::from(value.to_string())
}

fn subscription_of(url: &Url) -> &str {
    let mut segments = url.path().split('/').skip(1);
    match segments.next() {
        Some(first) if first.eq_ignore_ascii_case("subscriptions") => {
            segments.next().unwrap_or_default()
        }
        _ => "",
    }
}

/// What `azure_core` 0.21 gets to see.
#[derive(Debug)]
pub(super) struct Placeholder;

#[async_trait]
impl TokenCredential for Placeholder {
    async fn get_token(&self, _: &[&str]) -> azure_core_021::Result<AccessToken> {
        let never = azure_core_021::date::parse_rfc3339("9999-01-01T00:00:00Z")?;
        Ok(AccessToken::new("placeholder", never))
    }

    async fn clear_cache(&self) -> azure_core_021::Result<()> {
        Ok(())
    }
}
