//! Tells a stream that was cut from one that has ended.
//!
//! To tonic's decoder a stream that its sender cancelled is one at its end. Half an object would then pass for a whole
//! one, unless the call's own cancellation, which comes by another way, happens to be seen first.

use http::Request;
use http_body_util::BodyExt as _;
use tonic::{Code, Status, body::Body};

/// For a tower layer around a service with streams from the client.
pub(super) fn told(request: Request<Body>) -> Request<Body> {
    request.map(|body| Body::new(body.map_err(not_an_end)))
}

fn not_an_end(status: Status) -> Status {
    match status.code() {
        Code::Cancelled => Status::aborted("the call was cancelled"),
        _ => status,
    }
}
