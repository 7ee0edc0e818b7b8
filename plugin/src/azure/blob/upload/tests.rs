//! Uploads into a blob that keeps Azure's rules in memory.

use std::{
    collections::HashMap,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures::{FutureExt as _, StreamExt as _, stream};
use proptest::prelude::*;

use super::*;
use crate::azure::{failure::Failure, transport::lock};

const EARLIER: &[u8] = b"earlier";

/// Blocks come to be in any order; the blob is what was committed last.
struct Memory {
    content: Mutex<Vec<u8>>,
    blocks: Mutex<HashMap<String, Bytes>>,
    /// How many blocks there may be before one is refused.
    refused_after: usize,
    /// No block is ever answered.
    silent: bool,
    most: usize,
    in_flight: AtomicUsize,
    most_in_flight: AtomicUsize,
}

impl Memory {
    fn new() -> Self {
        Self {
            content: Mutex::new(EARLIER.to_vec()),
            blocks: Mutex::default(),
            refused_after: usize::MAX,
            silent: false,
            most: 50_000,
            in_flight: AtomicUsize::new(0),
            most_in_flight: AtomicUsize::new(0),
        }
    }

    fn content(&self) -> Vec<u8> {
        lock(&self.content).clone()
    }

    fn sizes(&self) -> Vec<usize> {
        let mut sizes: Vec<_> = lock(&self.blocks).values().map(Bytes::len).collect();
        sizes.sort_unstable();
        sizes
    }
}

/// A request on its way.
struct Request<'a>(&'a AtomicUsize);

impl Drop for Request<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Blob for Memory {
    async fn whole(&self, content: Bytes) -> Result<(), BlobError> {
        *lock(&self.content) = content.to_vec();
        lock(&self.blocks).clear();
        Ok(())
    }

    async fn block(&self, content: Bytes) -> Result<String, BlobError> {
        let now = self.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        let _request = Request(&self.in_flight);
        self.most_in_flight.fetch_max(now, Ordering::SeqCst);
        if self.silent {
            std::future::pending::<()>().await;
        }
        for _ in 0..content.first().map_or(0, |first| first % 7) {
            tokio::task::yield_now().await;
        }
        let mut blocks = lock(&self.blocks);
        assert!(!content.is_empty(), "Azure refuses an empty block");
        if blocks.len() >= self.refused_after {
            return Err(refused());
        }
        let name = format!("{:08}", blocks.len());
        blocks.insert(name.clone(), content);
        Ok(name)
    }

    async fn commit(&self, names: Vec<String>) -> Result<(), BlobError> {
        assert!(names.len() <= self.most);
        let blocks = lock(&self.blocks);
        let parts = names.iter().map(|name| blocks.get(name));
        let parts: Option<Vec<_>> = parts.collect();
        *lock(&self.content) = parts
            .ok_or_else(refused)?
            .into_iter()
            .flatten()
            .copied()
            .collect();
        Ok(())
    }

    fn too_large(&self, limit: u64) -> BlobError {
        BlobError::TooLarge {
            resource: "blob".to_owned(),
            limit,
        }
    }
}

fn refused() -> BlobError {
    let failure = Failure::Http {
        status: 403,
        code: "X".to_owned(),
        message: String::new(),
        retry_after: None,
    };
    BlobError::of(failure, "blob".to_owned(), std::time::Duration::ZERO)
}

fn body(parts: Vec<Vec<u8>>) -> Body<Broken> {
    stream::iter(parts.into_iter().map(|part| Ok(Bytes::from(part)))).boxed()
}

fn broken(parts: Vec<Vec<u8>>) -> Body<Broken> {
    let end = stream::once(async { Err(Broken("gone".to_owned())) });
    body(parts).chain(end).boxed()
}

fn endless() -> Body<Broken> {
    stream::repeat_with(|| Ok(Bytes::from_static(b"0123"))).boxed()
}

async fn upload(blob: &Memory, block: usize, mut body: Body<Broken>) -> Result<(), BlobError> {
    let cancel = CancellationToken::new();
    write(blob, Plan::new(Some(block)), &mut body, &cancel).await
}

#[tokio::test]
async fn body_within_the_first_block_is_written_at_once() {
    for content in [&b""[..], b"a", b"abcd"] {
        let blob = Memory::new();
        let parts = content.chunks(1).map(<[u8]>::to_vec).collect();
        upload(&blob, 4, body(parts)).await.unwrap();
        assert_eq!(blob.content(), content);
        assert_eq!(blob.sizes(), [0; 0]);
    }
}

#[tokio::test]
async fn longer_body_is_committed_from_full_blocks() {
    let blob = Memory::new();
    let content: Vec<u8> = (0..=98).collect();
    upload(&blob, 10, body(vec![content.clone()]))
        .await
        .unwrap();
    assert_eq!(blob.content(), content);
    assert_eq!(blob.sizes(), [9, 10, 10, 10, 10, 10, 10, 10, 10, 10]);
}

#[tokio::test]
async fn several_blocks_are_in_flight_but_no_more_than_planned() {
    let blob = Memory::new();
    upload(&blob, 4, body(vec![vec![6; 1000]])).await.unwrap();
    assert_eq!(blob.most_in_flight.load(Ordering::SeqCst), 16);
}

#[tokio::test]
async fn broken_body_is_never_committed() {
    for size in [0, 3, 4, 5, 100] {
        let blob = Memory::new();
        let error = upload(&blob, 4, broken(vec![vec![1; size]])).await;
        assert!(matches!(error, Err(BlobError::Broken(_))), "{size}");
        assert_eq!(blob.content(), EARLIER, "{size}");
    }
}

#[tokio::test]
async fn refused_block_ends_an_endless_body() {
    let blob = Memory {
        refused_after: 5,
        ..Memory::new()
    };
    let error = upload(&blob, 4, endless()).await;
    assert!(matches!(error, Err(BlobError::Refused { .. })));
    assert_eq!(blob.content(), EARLIER);
    assert_eq!(blob.in_flight.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn cancelled_upload_drops_its_requests() {
    let blob = Memory {
        silent: true,
        ..Memory::new()
    };
    let cancel = CancellationToken::new();
    let mut body = endless();
    {
        let mut writing = Box::pin(write(&blob, Plan::new(Some(4)), &mut body, &cancel));
        assert!((&mut writing).now_or_never().is_none());
        assert_eq!(blob.in_flight.load(Ordering::SeqCst), 16);
        cancel.cancel();
        assert!(matches!(writing.await, Err(BlobError::Cancelled)));
    }
    assert_eq!(blob.in_flight.load(Ordering::SeqCst), 0);
    assert_eq!(blob.content(), EARLIER);
}

/// Its last part comes, and with it the news that nobody wants it.
fn cancelled_at_its_end(size: usize, cancel: &CancellationToken) -> Body<Broken> {
    let cancel = cancel.clone();
    let end = stream::once(async move {
        cancel.cancel();
        Ok(Bytes::new())
    });
    body(vec![vec![0; size]]).chain(end).boxed()
}

#[tokio::test]
async fn upload_that_is_cancelled_at_its_end_is_never_committed() {
    for size in [0, 3, 4, 5, 100] {
        let (blob, cancel) = (Memory::new(), CancellationToken::new());
        let mut body = cancelled_at_its_end(size, &cancel);
        let error = write(&blob, Plan::new(Some(4)), &mut body, &cancel).await;
        assert!(matches!(error, Err(BlobError::Cancelled)), "{size}");
        assert_eq!(blob.content(), EARLIER, "{size}");
    }
}

#[tokio::test]
async fn body_that_is_too_large_is_never_committed() {
    let blob = Memory::new();
    let limit = usize::try_from(Plan::new(Some(1)).limit()).unwrap();
    let parts = |size| body(vec![vec![0; size]]);
    let error = upload(&blob, 1, parts(limit + 1)).await;
    assert!(matches!(error, Err(BlobError::TooLarge { limit: told, .. }) if told == limit as u64));
    assert_eq!(blob.content(), EARLIER);
    upload(&blob, 1, parts(limit)).await.unwrap();
    assert_eq!(blob.content().len(), limit);
}

proptest! {
    #[test]
    fn any_split_of_a_body_yields_the_same_blob(
        parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..30),
        block in 1usize..60,
    ) {
        let blob = Memory::new();
        let whole = parts.concat();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(upload(&blob, block, body(parts))).unwrap();
        prop_assert_eq!(blob.content(), whole);
    }
}
