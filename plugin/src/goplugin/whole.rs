//! Requests of the host whose break is not taken for their end.
//!
//! tonic ends a stream that the host cancels as if it were complete (tonic 0.14, `codec/decode.rs`), and hyper one that
//! it resets with `NO_ERROR`: half an object would pass for a whole one.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tonic::{Code, Status, body::Body};

/// A body that ends only where the host ended it.
pub(super) fn whole(request: http::Request<Body>) -> http::Request<Body> {
    request.map(|body| Body::new(Whole(body)))
}

struct Whole(Body);

impl http_body::Body for Whole {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.0).poll_frame(context));
        Poll::Ready(match frame {
            Some(Err(status)) if status.code() == Code::Cancelled => Some(Err(broken())),
            None if !self.0.is_end_stream() => Some(Err(broken())),
            frame => frame,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

fn broken() -> Status {
    Status::aborted("the host cancelled it")
}
