//! Why a request is not reviewed, as the API server logs it.

use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use thiserror::Error;

/// Each is an error of the call for the API server: its webhook's `failurePolicy` decides.
#[derive(Debug, Error)]
pub(super) enum Refusal {
    #[error("not found: admission requests are taken at POST /admit")]
    NotHere,
    #[error(
        "timeout={0}: expected a duration of 1s to 30s, as the API server sends its webhook's timeoutSeconds"
    )]
    Timeout(String),
    #[error("the body did not come in time")]
    Slow,
    #[error("the body ended early: {0}")]
    Broken(#[source] hyper::Error),
    #[error("the body is larger than {0} bytes, which is more than an API server stores")]
    Large(usize),
    #[error("the body is no AdmissionReview: {0}")]
    NoReview(#[source] serde_json::Error),
    #[error(
        "{kind} of {api_version}: expected AdmissionReview of admission.k8s.io/v1; set by admissionReviewVersions of the webhook"
    )]
    OtherKind { api_version: String, kind: String },
    #[error("the AdmissionReview has no request")]
    NoRequest,
    #[error("too many reviews at once")]
    Full,
    #[error("no answer within {0:?}")]
    Late(Duration),
    #[error("the answer cannot be written: {0}")]
    Answer(#[source] serde_json::Error),
}

impl Refusal {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::NotHere => StatusCode::NOT_FOUND,
            Self::Timeout(_)
            | Self::Broken(_)
            | Self::NoReview(_)
            | Self::OtherKind { .. }
            | Self::NoRequest => StatusCode::BAD_REQUEST,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Large(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Full => StatusCode::SERVICE_UNAVAILABLE,
            Self::Late(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::Answer(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        said(self.status(), self.to_string())
    }
}

/// A sentence as an answer.
pub(super) fn said(status: StatusCode, mut sentence: String) -> Response<Full<Bytes>> {
    sentence.push('\n');
    let mut response = Response::new(Full::new(Bytes::from(sentence)));
    *response.status_mut() = status;
    response
}
