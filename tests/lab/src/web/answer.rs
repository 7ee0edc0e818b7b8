//! Answers: status, headers and JSON, whole or torn.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use serde_json::{Value, json};

use super::{Call, Closed};

/// An answer, not yet sent.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Option<Value>,
}

impl Answer {
    pub(crate) fn json(status: StatusCode, body: &Value) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Some(body.clone()),
        }
    }

    pub(crate) fn empty(status: StatusCode) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: None,
        }
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn code(&self) -> Option<String> {
        let error = self.body.as_ref()?.get("error")?;
        let code = error.get("code").unwrap_or(error);
        code.as_str().map(Into::into)
    }

    pub(super) fn into_response(self, truncated: bool) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.append(HeaderName::from_static(name), value);
            }
        }
        if let Some(body) = self.body {
            headers.insert(
                "content-type",
                HeaderValue::from_static("application/json; charset=utf-8"),
            );
            let bytes = Bytes::from(body.to_string());
            *response.body_mut() = if truncated {
                torn(&bytes, headers)
            } else {
                Body::from(bytes)
            };
        }
        response
    }
}

/// Half of the body under the length of the whole; then the connection breaks.
fn torn(bytes: &Bytes, headers: &mut HeaderMap) -> Body {
    headers.insert("content-length", HeaderValue::from(bytes.len()));
    let half = bytes.slice(..bytes.len() / 2);
    let parts = [Ok(half), Err(Closed)];
    // The half must be on the wire before the break, or the client sees only a closed connection.
    let stream = futures::stream::unfold(parts.into_iter(), |mut parts| async move {
        let part = parts.next()?;
        if part.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Some((part, parts))
    });
    Body::from_stream(stream)
}

pub(super) fn common_headers(answer: Answer, call: &Call) -> Answer {
    let id = uuid::Uuid::new_v4();
    let mut answer = answer
        .header("cache-control", "no-cache")
        .header("pragma", "no-cache")
        .header("x-content-type-options", "nosniff")
        .header(
            "strict-transport-security",
            "max-age=31536000; includeSubDomains",
        )
        .header("x-ms-request-id", id.to_string())
        .header("x-ms-correlation-request-id", id.to_string());
    if call.header("x-ms-return-client-request-id") == Some("true")
        && let Some(id) = call.header("x-ms-client-request-id")
    {
        answer = answer.header("x-ms-client-request-id", id.to_string());
    }
    answer
}

pub(super) fn status_answer(
    token: bool,
    status: u16,
    code: Option<String>,
    message: Option<String>,
    retry_after: Option<String>,
) -> Answer {
    let usual = match status {
        401 if token => "invalid_client",
        400 if token => "invalid_request",
        401 => "InvalidAuthenticationToken",
        403 => "AuthorizationFailed",
        404 => "ResourceNotFound",
        409 => "Conflict",
        429 => "TooManyRequests",
        500 => "InternalServerError",
        503 => "ServerBusy",
        _ => "Error",
    };
    let code = code.unwrap_or_else(|| usual.into());
    let message = message.unwrap_or_else(|| format!("A fault of the lab: {status}."));
    let body = if token {
        json!({"error": code, "error_description": message, "error_codes": []})
    } else {
        json!({"error": {"code": code, "message": message}})
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let answer = Answer::json(status, &body);
    match retry_after {
        Some(value) => answer.header("retry-after", value),
        None => answer,
    }
}
