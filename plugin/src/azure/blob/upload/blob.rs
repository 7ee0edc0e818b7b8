//! A block blob of Azure.

use std::{fmt::Write as _, time::Instant};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::Method;
use object_store::{
    ObjectStoreExt as _, PutPayload, azure::MicrosoftAzure, multipart::MultipartStore as _,
    path::Path,
};

use super::Blob;
use crate::{
    azure::{
        blob::{Account, BlobError, ask, key},
        failure::Failure,
    },
    velero::Object,
};

/// What is handed to a connection at once, which may copy it.
const PIECE: usize = 128 << 10;

pub(super) struct BlockBlob<'a> {
    account: &'a Account,
    store: std::sync::Arc<MicrosoftAzure>,
    object: &'a Object,
    path: Path,
}

impl<'a> BlockBlob<'a> {
    pub(super) fn new(account: &'a Account, object: &'a Object) -> Result<Self, BlobError> {
        Ok(Self {
            account,
            store: account.container(&object.container)?,
            object,
            path: key::to_path(&object.key)?,
        })
    }

    fn resource(&self) -> String {
        let Object { container, key } = self.object;
        self.account.wire.resource(container, Some(key))
    }

    fn error(&self, failure: Failure, begun: Instant) -> BlobError {
        BlobError::of(failure, self.resource(), begun.elapsed())
    }

    /// Of the request that makes the blob be there.
    fn last_error(&self, failure: Failure, begun: Instant) -> BlobError {
        let undecided = failure.is_ambiguous();
        match self.error(failure, begun) {
            BlobError::Unanswered {
                resource,
                message,
                after,
                hint,
            } if undecided => BlobError::Unanswered {
                resource,
                message: format!("{message} (it may have been written all the same)"),
                after,
                hint,
            },
            error => error,
        }
    }
}

impl Blob for BlockBlob<'_> {
    async fn whole(&self, content: Bytes) -> Result<(), BlobError> {
        let begun = Instant::now();
        match self.store.put(&self.path, in_pieces(content)).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.last_error(Failure::of_store(&error), begun)),
        }
    }

    async fn block(&self, content: Bytes) -> Result<String, BlobError> {
        let begun = Instant::now();
        let content = in_pieces(content);
        let block = self
            .store
            .put_part(&self.path, &String::new(), 0, content)
            .await;
        block
            .map(|block| block.content_id)
            .map_err(|error| self.error(Failure::of_store(&error), begun))
    }

    /// Not `object_store`'s: its list asks for uncommitted blocks, so a commit whose answer was lost fails when it is
    /// tried again.
    async fn commit(&self, blocks: Vec<String>) -> Result<(), BlobError> {
        let begun = Instant::now();
        let wire = &self.account.wire;
        let url = format!("{}?comp=blocklist", ask::url(wire, self.object)?);
        let list = Bytes::from(block_list(&blocks));
        let sent = async { wire.send(ask::request(Method::PUT, &url, list)?).await };
        match sent.await {
            Ok(_) => Ok(()),
            Err(failure) => Err(self.last_error(failure, begun)),
        }
    }

    fn too_large(&self, limit: u64) -> BlobError {
        BlobError::TooLarge {
            resource: self.resource(),
            limit,
        }
    }
}

fn in_pieces(mut content: Bytes) -> PutPayload {
    std::iter::from_fn(|| {
        let length = content.len().min(PIECE);
        (length > 0).then(|| content.split_to(length))
    })
    .collect()
}

fn block_list(blocks: &[String]) -> String {
    let mut list = String::from("<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>");
    for block in blocks {
        // Writing to a string does not fail.
        let _ = write!(list, "<Latest>{}</Latest>", STANDARD.encode(block));
    }
    list.push_str("</BlockList>");
    list
}
