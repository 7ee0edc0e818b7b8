//! The way of all requests to one storage account: authorised, sent, tried again.

use std::sync::Arc;

use async_trait::async_trait;
use object_store::{
    ClientOptions, RetryConfig, StaticCredentialProvider,
    azure::{AzureAuthorizer, AzureCredential, MicrosoftAzure, MicrosoftAzureBuilder},
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
    },
};
use url::Url;

use super::{BlobError, access::Access};
use crate::azure::{answer::causes, failure::Failure, transport::Transport};

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

    /// Sends a request that has no authorisation yet. An answer is one of success, its body unread.
    pub(super) async fn send(&self, mut request: HttpRequest) -> Result<HttpResponse, Failure> {
        super::key::sent(request.uri_mut());
        let credential = self.0.access.credential().await?;
        AzureAuthorizer::new(&credential, &self.0.account)
            .try_authorize(&mut request)
            .map_err(|error| Failure::Malformed(error.to_string()))?;
        let answer = self.0.transport.storage()?.call(request).await;
        let answer = answer.map_err(|error| Failure::Connection(causes(&error)))?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let (parts, body) = answer.into_parts();
        let body = body.bytes().await.unwrap_or_default();
        Err(Failure::of_storage(
            parts.status.as_u16(),
            &parts.headers,
            &body,
        ))
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
