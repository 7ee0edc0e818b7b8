//! How one request failed, and what that means for the caller of a port.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;

use super::{
    answer::{causes, code_and_message, retry_after},
    hint::hint,
};
use crate::ports::AzureError;

/// What rustls says of a certificate that it does not accept.
pub(super) const UNTRUSTED: &str = "invalid peer certificate";
/// What no resolver knows.
pub(super) const UNRESOLVED: &str = "dns error";

/// How one request failed.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Failure {
    /// An answer that is no success.
    #[error("{status} {code}: {message}")]
    Http {
        status: u16,
        code: String,
        message: String,
        retry_after: Option<Duration>,
    },
    /// No answer: no connection, or it broke.
    #[error("{0}")]
    Connection(String),
    /// No answer in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// An answer that is not what the service promises.
    #[error("{0}")]
    Malformed(String),
    /// There is no token to ask with.
    #[error("{0}")]
    Login(String),
}

impl Failure {
    /// From an answer; its body is only kept in part.
    pub(super) fn of_answer(status: u16, headers: &HeaderMap, body: &Bytes) -> Self {
        let (code, message) = code_and_message(body);
        Self::Http {
            status,
            code: code.unwrap_or_default(),
            message,
            retry_after: retry_after(headers),
        }
    }

    /// From a request that got no answer.
    pub(super) fn of_request(error: reqwest::Error) -> Self {
        if error.is_timeout() && !error.is_connect() {
            return Self::Connection(format!("the connection timed out ({})", causes(&error)));
        }
        let host = error
            .url()
            .and_then(|url| Some(url.host_str()?.to_owned()))
            .unwrap_or_default();
        Self::unreached(&host, &error.without_url())
    }

    pub(super) fn unreached(host: &str, error: &dyn std::error::Error) -> Self {
        let causes = causes(error);
        Self::Connection(format!("{host} cannot be reached or hung up: {causes}"))
    }

    /// What the crates hand back of it.
    pub(super) fn of_core(error: azure_core_021::Error) -> Self {
        error
            .into_downcast::<Self>()
            .unwrap_or_else(|error| Self::Malformed(error.to_string()))
    }

    /// Worth another attempt of the same request.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            // What arrived is not what was sent.
            Self::Http { status: 400, .. } => self.is_code("Md5Mismatch"),
            Self::Http { status: 409, .. } => self.is_code("AnotherOperationInProgress"),
            Self::Http { status, .. } => matches!(status, 408 | 429 | 500..=599),
            // Trust does not come by asking again.
            Self::Connection(message) => !message.contains(UNTRUSTED),
            Self::Timeout(_) => true,
            Self::Malformed(_) | Self::Login(_) => false,
        }
    }

    /// Azure may have acted on the request all the same.
    pub(super) fn is_ambiguous(&self) -> bool {
        self.is_transient() && !self.is_throttle()
    }

    pub(super) fn is_throttle(&self) -> bool {
        matches!(self, Self::Http { status: 429, .. })
    }

    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Http { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    pub(super) fn is_code(&self, wanted: &str) -> bool {
        matches!(self, Self::Http { code, .. } if code.eq_ignore_ascii_case(wanted))
    }

    pub(super) fn status(&self) -> Option<u16> {
        match self {
            Self::Http { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// The resource is not there: it, or the group that would hold it. An unknown subscription proves
    /// nothing: it may be of another tenant.
    pub(super) fn is_gone(&self) -> bool {
        self.status() == Some(404)
            && !self.is_code("SubscriptionNotFound")
            && !self.is_code("InvalidSubscriptionId")
    }

    /// For the caller of a port, about `resource`, `after` its first attempt.
    pub(super) fn into_error(
        self,
        resource: &dyn std::fmt::Display,
        after: Duration,
    ) -> AzureError {
        let resource = resource.to_string();
        match self {
            Self::Http {
                status: 404,
                code,
                message,
                ..
            } => AzureError::NotFound {
                resource,
                message: format!("{code}: {message}"),
            },
            Self::Http {
                status: 409,
                code,
                message,
                ..
            } => AzureError::Conflict {
                resource,
                message: format!("{message}{}", hint(409, &code, &message)),
                code,
            },
            Self::Http {
                status: 429,
                message,
                retry_after,
                ..
            } => AzureError::Throttled {
                resource,
                message,
                retry_after,
            },
            Self::Http {
                status: 408 | 500..=599,
                ..
            }
            | Self::Connection(_)
            | Self::Timeout(_)
            | Self::Malformed(_) => AzureError::Unanswered {
                resource,
                message: self.to_string(),
                after,
            },
            Self::Http {
                status,
                code,
                message,
                ..
            } => AzureError::Refused {
                resource,
                status,
                hint: hint(status, &code, &message),
                code,
                message,
            },
            Self::Login(message) => AzureError::Credentials(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http(status: u16, code: &str) -> Failure {
        let body = format!(r#"{{"error":{{"code":"{code}","message":"m"}}}}"#);
        Failure::of_answer(status, &HeaderMap::new(), &Bytes::from(body))
    }

    #[test]
    fn what_is_worth_another_attempt() {
        for (status, transient, ambiguous) in [
            (400, false, false),
            (403, false, false),
            (404, false, false),
            (408, true, true),
            (409, false, false),
            (429, true, false),
            (500, true, true),
            (503, true, true),
        ] {
            let failure = http(status, "X");
            assert_eq!(failure.is_transient(), transient, "{status}");
            assert_eq!(failure.is_ambiguous(), ambiguous, "{status}");
        }
    }

    #[test]
    fn an_unknown_subscription_does_not_prove_that_a_resource_is_gone() {
        assert!(http(404, "ResourceNotFound").is_gone());
        assert!(http(404, "ResourceGroupNotFound").is_gone());
        assert!(!http(404, "SubscriptionNotFound").is_gone());
    }
}
