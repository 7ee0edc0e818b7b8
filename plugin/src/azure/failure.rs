//! How one request failed, and what that means for the caller of a port.

use std::{error::Error, time::Duration};

use bytes::Bytes;
use http::HeaderMap;
use serde::Deserialize;

use super::hint::hint;
use crate::ports::AzureError;

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
        let causes = causes(&error.without_url());
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
            Self::Http { status, .. } => matches!(status, 408 | 429 | 500..=599),
            Self::Connection(_) | Self::Timeout(_) => true,
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

/// All causes of an error, from the outside in.
pub(super) fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

/// Seconds or a date; the SDKs also know milliseconds.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let milliseconds = ["retry-after-ms", "x-ms-retry-after-ms"]
        .into_iter()
        .find_map(|name| text(name)?.trim().parse().ok())
        .map(Duration::from_millis);
    milliseconds.or_else(|| {
        let value = text("retry-after")?.trim();
        if let Ok(seconds) = value.parse() {
            return Some(Duration::from_secs(seconds));
        }
        let at = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
        Some(
            at.duration_since(jiff::Timestamp::now())
                .try_into()
                .unwrap_or_default(),
        )
    })
}

#[derive(Deserialize)]
struct Body {
    error: Option<Detail>,
    code: Option<String>,
    message: Option<String>,
}

#[derive(Deserialize)]
struct Detail {
    code: Option<String>,
    message: Option<String>,
    #[serde(default)]
    details: Option<Vec<Detail>>,
}

/// ARM's code and message; of anything else its beginning.
fn code_and_message(body: &[u8]) -> (Option<String>, String) {
    let Ok(parsed) = serde_json::from_slice::<Body>(body) else {
        let text: String = String::from_utf8_lossy(body).chars().take(300).collect();
        return (None, text.trim().to_owned());
    };
    let error = parsed.error.unwrap_or(Detail {
        code: parsed.code,
        message: parsed.message,
        details: None,
    });
    let mut message = error.message.unwrap_or_default();
    for detail in error.details.into_iter().flatten() {
        if let Some(more) = detail.message.filter(|more| !message.contains(more)) {
            message = format!("{message} {more}").trim().to_owned();
        }
    }
    (error.code, message)
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

    #[test]
    fn retry_after_is_read_in_every_form() {
        let read = |name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, http::HeaderValue::from_static(value));
            retry_after(&headers)
        };
        assert_eq!(read("retry-after", "7"), Some(Duration::from_secs(7)));
        assert_eq!(
            read("x-ms-retry-after-ms", "70"),
            Some(Duration::from_millis(70))
        );
        assert_eq!(
            read("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT"),
            Some(Duration::ZERO)
        );
        assert_eq!(read("retry-after", "soon"), None);
    }

    #[test]
    fn details_of_an_error_are_not_lost() {
        let body = r#"{"error":{"code":"A","message":"m","details":[{"message":"why"}]}}"#;
        assert_eq!(
            code_and_message(body.as_bytes()),
            (Some("A".to_owned()), "m why".to_owned())
        );
        assert_eq!(code_and_message(b"<html>").1, "<html>");
    }
}
