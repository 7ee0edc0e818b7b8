//! Downloads of a blob whose connections do as the test says.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use proptest::prelude::*;

use super::*;
use crate::azure::transport::lock;

const CONTENT: &[u8] = b"0123456789";

/// What a connection does after so many bytes.
#[derive(Clone, Copy, Debug)]
enum Then {
    Breaks,
    Ends,
    Hangs,
}

/// A blob of one version, until it is replaced.
#[derive(Clone)]
struct Flaky(Arc<Mutex<State>>);

struct State {
    version: &'static str,
    /// Of each connection to come; the others bring all.
    connections: VecDeque<(usize, Then)>,
    refused: Option<u16>,
    asked: Vec<u64>,
}

impl Flaky {
    fn new(connections: impl IntoIterator<Item = (usize, Then)>) -> Self {
        Self(Arc::new(Mutex::new(State {
            version: "1",
            connections: connections.into_iter().collect(),
            refused: None,
            asked: Vec::new(),
        })))
    }

    async fn read(&self) -> Result<Vec<u8>, BlobError> {
        let parts: Vec<Bytes> = resume::read(self.clone()).await?.try_collect().await?;
        Ok(parts.into_iter().flatten().collect())
    }

    /// Reads one part, then does `change`, and reads on.
    async fn read_with(&self, change: impl FnOnce(&mut State)) -> Result<Vec<u8>, BlobError> {
        let mut parts = resume::read(self.clone()).await?;
        let mut whole = parts.try_next().await?.unwrap_or_default().to_vec();
        change(&mut lock(&self.0));
        while let Some(part) = parts.try_next().await? {
            whole.extend_from_slice(&part);
        }
        Ok(whole)
    }

    fn asked(&self) -> Vec<u64> {
        lock(&self.0).asked.clone()
    }
}

fn http(status: u16) -> Failure {
    Failure::Http {
        status,
        code: "X".to_owned(),
        message: String::new(),
        retry_after: None,
    }
}

impl Blob for Flaky {
    async fn open(&self, rest: Option<Rest>) -> Result<Opened, Failure> {
        let mut state = lock(&self.0);
        let from = rest.as_ref().map_or(0, |rest| rest.read);
        state.asked.push(from);
        if let Some(status) = state.refused {
            return Err(http(status));
        }
        if rest.is_some_and(|rest| rest.version != state.version) {
            return Err(http(412));
        }
        let content = &CONTENT[usize::try_from(from).unwrap()..];
        let (bytes, then) = state
            .connections
            .pop_front()
            .unwrap_or((content.len(), Then::Ends));
        let part = Bytes::copy_from_slice(&content[..bytes.min(content.len())]);
        let end = match then {
            Then::Breaks => {
                stream::once(async { Err(Failure::Connection("reset".to_owned())) }).boxed()
            }
            Then::Ends => stream::empty().boxed(),
            Then::Hangs => stream::pending().boxed(),
        };
        Ok(Opened {
            version: Some(state.version.to_owned()),
            size: CONTENT.len() as u64,
            parts: stream::once(async { Ok(part) }).chain(end).boxed(),
        })
    }

    fn resource(&self) -> String {
        "blob".to_owned()
    }
}

#[tokio::test(start_paused = true)]
async fn broken_download_goes_on_where_it_was() {
    for then in [Then::Breaks, Then::Ends, Then::Hangs] {
        let blob = Flaky::new([(3, then), (0, then), (4, then)]);
        assert_eq!(blob.read().await.unwrap(), CONTENT, "{then:?}");
        assert_eq!(blob.asked(), [0, 3, 3, 7], "{then:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_comes_after_the_last_byte_does_not_matter() {
    for then in [Then::Breaks, Then::Hangs] {
        let blob = Flaky::new([(CONTENT.len(), then)]);
        assert_eq!(blob.read().await.unwrap(), CONTENT, "{then:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn blob_that_was_replaced_is_not_mixed() {
    let blob = Flaky::new([(3, Then::Breaks)]);
    let error = blob.read_with(|state| state.version = "2").await;
    assert!(
        matches!(error, Err(BlobError::Replaced { read: 3, .. })),
        "{error:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn blob_that_was_deleted_is_an_error_not_an_end() {
    let blob = Flaky::new([(3, Then::Ends)]);
    let error = blob.read_with(|state| state.refused = Some(404)).await;
    assert!(
        matches!(error, Err(BlobError::NotFound { .. })),
        "{error:?}"
    );
}

#[tokio::test]
async fn blob_that_is_not_there_is_told_before_the_stream() {
    let blob = Flaky::new([]);
    lock(&blob.0).refused = Some(404);
    let error = resume::read(blob).await.map(|_| ());
    assert!(
        matches!(error, Err(BlobError::NotFound { .. })),
        "{error:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn download_without_any_progress_ends() {
    let blob = Flaky::new(
        [(3, Then::Breaks)]
            .into_iter()
            .chain([(0, Then::Breaks); 100]),
    );
    let error = blob.read().await;
    assert!(
        matches!(error, Err(BlobError::Unanswered { .. })),
        "{error:?}"
    );
    assert!(blob.asked().len() < 20);
}

#[tokio::test(start_paused = true)]
async fn progress_is_patient_for_ever() {
    let blob =
        Flaky::new([(1, Then::Breaks), (0, Then::Breaks), (0, Then::Ends)].repeat(CONTENT.len()));
    assert_eq!(blob.read().await.unwrap(), CONTENT);
}

#[tokio::test(start_paused = true)]
async fn pause_of_the_reader_breaks_nothing() {
    let blob = Flaky::new([(3, Then::Ends)]);
    let mut parts = resume::read(blob.clone()).await.unwrap();
    assert_eq!(parts.try_next().await.unwrap().unwrap(), CONTENT[..3]);
    // Begins to wait for the rest, and does not come back for an hour.
    assert!(parts.try_next().now_or_never().is_none());
    tokio::time::advance(std::time::Duration::from_secs(3600)).await;
    assert_eq!(parts.try_next().await.unwrap().unwrap(), CONTENT[3..]);
    assert_eq!(blob.asked(), [0, 3]);
}

proptest! {
    #[test]
    fn any_breaks_yield_the_same_content(
        breaks in prop::collection::vec((1usize..4, prop_oneof![Just(Then::Breaks), Just(Then::Ends), Just(Then::Hangs)]), 0..10)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time().start_paused(true).build().unwrap();
        let blob = Flaky::new(breaks);
        prop_assert_eq!(runtime.block_on(blob.read()).unwrap(), CONTENT);
    }
}
