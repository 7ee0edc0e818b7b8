//! One version of a blob as a stream, however often the connection breaks.
//!
//! ```text
//! reading ─► size read ─► end
//!   │ ▲ broken, silent, or ended too soon
//!   ▼ │ more of the same version
//! waiting ─► replaced · refused · broken so often without a byte ─► error
//! ```

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use tokio::time::{sleep, timeout};

use super::{Blob, Opened, Rest};
use crate::{
    azure::{blob::BlobError, failure::Failure, retry::Backoff},
    velero::Body,
};

/// How long nothing may come while somebody waits for it. A false alarm, after somebody came back from a pause, costs
/// a request.
const SILENCE: Duration = Duration::from_secs(60);
/// Connections in a row that brought nothing; the wire tries each of them several times by itself.
const BARREN: u32 = 6;

/// Asks for the blob, and reads it as fast as the stream is polled.
pub(super) async fn read(blob: impl Blob) -> Result<Body<BlobError>, BlobError> {
    let begun = Instant::now();
    let opened = blob.open(None).await;
    let opened =
        opened.map_err(|failure| BlobError::of(failure, blob.resource(), begun.elapsed()))?;
    let reading = Reading {
        read: 0,
        size: opened.size,
        version: opened.version.clone(),
        opened,
        trouble: None,
        blob,
    };
    let parts = stream::try_unfold(reading, |mut reading| async {
        let part = reading.part().await?;
        Ok(part.map(|part| (part, reading)))
    });
    Ok(parts.boxed())
}

struct Reading<B> {
    blob: B,
    version: Option<String>,
    size: u64,
    read: u64,
    opened: Opened,
    trouble: Option<Trouble>,
}

/// Since the last byte.
struct Trouble {
    since: Instant,
    connections: u32,
    backoff: Backoff,
}

impl<B: Blob> Reading<B> {
    async fn part(&mut self) -> Result<Option<Bytes>, BlobError> {
        while self.read < self.size {
            match timeout(SILENCE, self.opened.parts.next()).await {
                Ok(Some(Ok(part))) if part.is_empty() => {}
                Ok(Some(Ok(mut part))) => {
                    // No more than was promised, whatever comes.
                    let left = usize::try_from(self.size - self.read).unwrap_or(usize::MAX);
                    part.truncate(left);
                    self.read += part.len() as u64;
                    self.trouble = None;
                    return Ok(Some(part));
                }
                Ok(Some(Err(failure))) => self.resume(failure).await?,
                Ok(None) => {
                    let (read, size) = (self.read, self.size);
                    let message = format!("the answer ended after {read} of {size} bytes");
                    self.resume(Failure::Connection(message)).await?;
                }
                Err(_) => self.resume(Failure::Timeout(SILENCE)).await?,
            }
        }
        Ok(None)
    }

    async fn resume(&mut self, failure: Failure) -> Result<(), BlobError> {
        // Its connection is of no use any more, and need not be held while waiting.
        self.opened.parts = stream::empty().boxed();
        let trouble = self.trouble.get_or_insert_with(|| Trouble {
            since: Instant::now(),
            connections: 0,
            backoff: Backoff::default(),
        });
        let since = trouble.since;
        trouble.connections += 1;
        let rest = self.version.clone().map(|version| Rest {
            version,
            read: self.read,
            size: self.size,
        });
        let error = |failure| BlobError::of(failure, self.blob.resource(), since.elapsed());
        // Without a version the rest may be of another one.
        let Some(rest) = rest.filter(|_| trouble.connections <= BARREN) else {
            return Err(error(failure));
        };
        tracing::info!(
            object = %self.blob.resource(), read = self.read, size = self.size, %failure, "download broke, resuming"
        );
        sleep(trouble.backoff.next(None)).await;
        let replaced = || BlobError::Replaced {
            resource: self.blob.resource(),
            read: self.read,
        };
        match self.blob.open(Some(rest)).await {
            Ok(opened) if opened.version == self.version => {
                self.opened = opened;
                Ok(())
            }
            Ok(_) => Err(replaced()),
            Err(failure) if failure.status() == Some(412) => Err(replaced()),
            Err(failure) => Err(error(failure)),
        }
    }
}
