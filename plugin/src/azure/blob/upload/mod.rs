//! Writing a blob from a stream: blocks several at a time, committed only when all of the stream has come.
//!
//! ```text
//! filling ─► ended in the first block ─► Put Blob
//!    │ full
//!    ├─► Put Block, several in flight, back to filling
//!    └─► ended ─► all blocks there ─► Put Block List
//! ```
//!
//! Whatever ends it earlier leaves blocks that nobody sees and Azure drops after a week.

mod blob;
mod block;
mod plan;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use futures::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use tokio_util::sync::CancellationToken;

use self::{blob::BlockBlob, block::Block, plan::Plan};
use super::{Account, BlobError};
use crate::velero::{Body, Broken, Object};

pub(super) async fn put(
    account: &Account,
    object: &Object,
    body: &mut Body<Broken>,
    cancel: &CancellationToken,
) -> Result<(), BlobError> {
    let blob = BlockBlob::new(account, object)?;
    write(&blob, Plan::new(account.block_size), body, cancel).await
}

/// A blob that is not there before [`Blob::whole`] or [`Blob::commit`].
trait Blob: Sync {
    /// Writes all of it.
    fn whole(&self, content: Bytes) -> impl Future<Output = Result<(), BlobError>> + Send;

    /// Leaves a block, and names it.
    fn block(&self, content: Bytes) -> impl Future<Output = Result<String, BlobError>> + Send;

    /// Makes it of these blocks.
    fn commit(&self, blocks: Vec<String>) -> impl Future<Output = Result<(), BlobError>> + Send;

    /// The error that it is larger than `limit`.
    fn too_large(&self, limit: u64) -> BlobError;
}

async fn write(
    blob: &impl Blob,
    plan: Plan,
    body: &mut Body<Broken>,
    cancel: &CancellationToken,
) -> Result<(), BlobError> {
    let upload = Upload {
        blob,
        plan,
        rest: Bytes::new(),
        names: Vec::new(),
        in_flight: FuturesUnordered::new(),
    };
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(BlobError::Cancelled),
        written = upload.run(body, cancel) => written,
    }
}

struct Upload<'a, B> {
    blob: &'a B,
    plan: Plan,
    /// Of the last part, what did not go into a block yet.
    rest: Bytes,
    /// Of the blocks, by their numbers; empty while one is on its way.
    names: Vec<String>,
    in_flight: FuturesUnordered<BoxFuture<'a, Result<Sent, BlobError>>>,
}

struct Sent {
    block: usize,
    name: String,
}

impl<B: Blob> Upload<'_, B> {
    async fn run(
        mut self,
        body: &mut Body<Broken>,
        cancel: &CancellationToken,
    ) -> Result<(), BlobError> {
        loop {
            let size = self.plan.size(self.names.len());
            let size = size.ok_or_else(|| self.blob.too_large(self.plan.limit()))?;
            let (content, ended) = self.fill(size, body).await?;
            if ended && self.names.is_empty() {
                uncancelled(cancel)?;
                return self.blob.whole(content.freeze()).await;
            }
            while self.in_flight.len() >= Plan::in_flight(size) {
                self.wait().await?;
            }
            self.send(content.freeze());
            if ended {
                break;
            }
        }
        while !self.in_flight.is_empty() {
            self.wait().await?;
        }
        // The end of a stream and its cancellation come together: both may be there by now.
        uncancelled(cancel)?;
        self.blob.commit(self.names).await
    }

    /// A block from what comes, while others are on their way, and whether it is the last.
    async fn fill(
        &mut self,
        size: usize,
        body: &mut Body<Broken>,
    ) -> Result<(Block, bool), BlobError> {
        let mut content = Block::new(size);
        loop {
            content.take(&mut self.rest);
            // A full block waits for more: without, it is the last.
            if !self.rest.is_empty() {
                return Ok((content, false));
            }
            tokio::select! {
                biased;
                Some(sent) = self.in_flight.next() => self.keep(sent?),
                part = body.next() => match part {
                    Some(part) => self.rest = part?,
                    None => return Ok((content, true)),
                },
            }
        }
    }

    fn send(&mut self, content: Bytes) {
        let (blob, block) = (self.blob, self.names.len());
        self.names.push(String::new());
        let sending = async move {
            let name = blob.block(content).await?;
            Ok(Sent { block, name })
        };
        self.in_flight.push(Box::pin(sending));
    }

    async fn wait(&mut self) -> Result<(), BlobError> {
        if let Some(sent) = self.in_flight.next().await {
            self.keep(sent?);
        }
        Ok(())
    }

    fn keep(&mut self, sent: Sent) {
        if let Some(name) = self.names.get_mut(sent.block) {
            *name = sent.name;
        }
    }
}

fn uncancelled(cancel: &CancellationToken) -> Result<(), BlobError> {
    if cancel.is_cancelled() {
        return Err(BlobError::Cancelled);
    }
    Ok(())
}
