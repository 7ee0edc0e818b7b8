//! Bodies on their way: counted, cut, stalled, never whole in memory.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio_util::sync::CancellationToken;

use super::{Shared, log::Record};

/// A request's record, from its arrival until the last that was to be done for it.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) shared: Arc<Shared>,
    pub(super) number: usize,
}

impl Entry {
    pub(super) fn note(&self, change: impl FnOnce(&mut Record)) {
        if let Some(record) = self.shared.state().log.get(self.number) {
            change(record);
        }
    }
}

/// Notes the end of a request when dropped.
#[derive(Debug)]
pub(super) struct Ending(pub(super) Entry);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.note(|record| record.ended = Some(Instant::now()));
    }
}

#[derive(Debug)]
pub(super) enum Source {
    Stream(Incoming),
    Whole(Option<Bytes>),
}

/// Which way a body goes; with the last of an answer's, the request ends.
#[derive(Debug)]
pub(super) enum Way {
    Request(Entry),
    Answer(Option<Ending>),
}

/// What happens in the middle of a body.
pub(super) enum Middle {
    /// Both connections are closed by this.
    Cut(CancellationToken),
    Stall(BoxFuture<'static, ()>),
}

/// A body that is passed on.
pub(super) struct Passing {
    source: Source,
    way: Way,
    passed: u64,
    middle: Option<(u64, Middle)>,
    kept: Option<Bytes>,
    told_to_flush: bool,
}

impl Passing {
    pub(super) fn new(source: Source, way: Way, middle: Option<(u64, Middle)>) -> Self {
        let mut passing = Self {
            source,
            way,
            passed: 0,
            middle,
            kept: None,
            told_to_flush: false,
        };
        passing.count(0);
        passing
    }

    fn next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.source {
            _ if self.kept.is_some() => Poll::Ready(self.kept.take().map(Frame::data).map(Ok)),
            Source::Stream(stream) => Pin::new(stream).poll_frame(context),
            Source::Whole(bytes) => Poll::Ready(bytes.take().map(Frame::data).map(Ok)),
        }
    }

    fn count(&mut self, length: usize) {
        self.passed += length as u64;
        let (passed, whole) = (self.passed, self.is_end_stream());
        match &mut self.way {
            Way::Request(entry) => entry.note(|record| record.sent = passed),
            Way::Answer(ending) => {
                if let Some(Ending(entry)) = ending {
                    entry.note(|record| record.received = passed);
                }
                // Before the client can see the last of it and go on.
                if whole {
                    *ending = None;
                }
            }
        }
    }
}

impl Body for Passing {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = &mut *self;
        match &mut this.middle {
            Some((after, Middle::Stall(cleared))) if this.passed >= *after => {
                std::task::ready!(cleared.poll_unpin(context));
                this.middle = None;
            }
            Some((after, Middle::Cut(close))) if this.passed >= *after => {
                // What was passed so far is flushed once nothing more comes; then the connections end.
                if this.told_to_flush {
                    close.cancel();
                } else {
                    this.told_to_flush = true;
                    context.waker().wake_by_ref();
                }
                return Poll::Pending;
            }
            _ => {}
        }
        let frame = match std::task::ready!(this.next(context)) {
            Some(Ok(frame)) => frame,
            other => return Poll::Ready(other),
        };
        let mut bytes = match frame.into_data() {
            Ok(bytes) => bytes,
            Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
        };
        if let Some((after, _)) = &this.middle {
            let room = usize::try_from(*after - this.passed).unwrap_or(usize::MAX);
            if bytes.len() > room {
                this.kept = Some(bytes.split_off(room));
            }
        }
        this.count(bytes.len());
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            _ if self.kept.is_some() => false,
            Source::Stream(stream) => stream.is_end_stream(),
            Source::Whole(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            // As the headers say, which a fault may have changed.
            Source::Stream(_) => SizeHint::default(),
            Source::Whole(bytes) => {
                let kept = self.kept.as_ref().map_or(0, Bytes::len);
                SizeHint::with_exact((bytes.as_ref().map_or(0, Bytes::len) + kept) as u64)
            }
        }
    }
}

/// Reads a body to its end and forgets it; how much it was.
pub(super) async fn drain(mut body: Incoming) -> Result<u64, hyper::Error> {
    let mut length = 0;
    while let Some(frame) =
        std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await
    {
        if let Some(bytes) = frame?.data_ref() {
            length += bytes.len() as u64;
        }
    }
    Ok(length)
}
