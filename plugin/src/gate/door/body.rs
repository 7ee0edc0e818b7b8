//! Bodies of requests. Small ones are what comes; the few large ones at once bound the memory.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use tokio::sync::Semaphore;

use super::refusal::Refusal;

/// For a body to come.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// What an API server takes as one request, and so the largest object.
const LARGEST: usize = 3 << 20;
/// A VolumeSnapshotContent, old and new, has 3 to 6 kB.
const SMALL: usize = 64 << 10;
/// Those above [`SMALL`] at once.
const LARGE: usize = 4;

/// Reads bodies.
pub(super) struct Bodies {
    large: Semaphore,
}

impl Default for Bodies {
    fn default() -> Self {
        Self {
            large: Semaphore::new(LARGE),
        }
    }
}

impl Bodies {
    /// All of it. The caller sets the deadline.
    pub(super) async fn read(&self, mut body: Incoming) -> Result<Bytes, Refusal> {
        let announced = body.size_hint().lower();
        if usize::try_from(announced).is_ok_and(|size| size > LARGEST) {
            return Err(Refusal::Large(LARGEST));
        }
        let mut read = BytesMut::new();
        let mut place = None;
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(Refusal::Broken)?.into_data() else {
                continue;
            };
            let size = read.len() + data.len();
            if size > LARGEST {
                return Err(Refusal::Large(LARGEST));
            }
            if size > SMALL && place.is_none() {
                // Fails only if it were closed, which nobody does.
                place = self.large.acquire().await.ok();
            }
            read.extend_from_slice(&data);
        }
        Ok(read.freeze())
    }
}
