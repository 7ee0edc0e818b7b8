//! A kind of object, listed once and then watched, for as long as the process lives.
//!
//! ```text
//!   list, page by page ──► watch ──► event ──► kept
//!     ▲   ▲                │  ▲        │
//!     │   └── 410 Gone ────┤  └────────┘
//!     └── pause ◄── broken ┘   (from where it broke off)
//! ```

use std::{collections::HashMap, fmt::Debug, sync::Arc, time::Duration};

use futures::StreamExt as _;
use kube::{
    Api, Resource, ResourceExt as _,
    api::{ListParams, WatchEvent, WatchParams},
};
use serde::de::DeserializeOwned;
use tokio::time::{sleep, timeout};

use super::{described, store::Store};

const PAGE: u32 = 500;
/// For one page.
const ANSWER: Duration = Duration::from_secs(10);
/// How long a watch lasts by its own will; then it goes on from where it was.
const WATCH: u32 = 240;
/// After a failure; twice as long after each further one.
const PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
const GONE: u16 = 410;

/// Why there is nothing to hear.
enum Broken {
    /// What was known cannot be continued: list again.
    Gone,
    Failed(String),
}

impl From<kube::Error> for Broken {
    fn from(error: kube::Error) -> Self {
        match &error {
            kube::Error::Api(status) if status.code == GONE => Self::Gone,
            other => Self::Failed(described(other)),
        }
    }
}

/// Keeps `store` as the cluster is. Never ends.
pub(super) async fn follow<K, T>(api: Api<K>, store: Arc<Store<T>>, keep: fn(&K) -> Option<T>)
where
    K: Resource + Clone + Debug + DeserializeOwned,
    T: Clone,
{
    let mut version = None;
    let mut pause = PAUSE;
    loop {
        let broken = match version.take() {
            None => list(&api, &store, keep)
                .await
                .map(|seen| version = Some(seen)),
            Some(mut seen) => {
                let watched = watch(&api, &store, keep, &mut seen).await;
                if !matches!(watched, Err(Broken::Gone)) {
                    version = Some(seen);
                }
                watched
            }
        };
        match broken {
            Ok(()) => pause = PAUSE,
            Err(Broken::Gone) => sleep(PAUSE).await,
            Err(Broken::Failed(reason)) => {
                if store.is_deaf(reason.clone()) {
                    tracing::warn!(
                        what = store.what(),
                        reason,
                        "Kubernetes does not tell; trying again, with what is known meanwhile"
                    );
                }
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

async fn list<K, T>(
    api: &Api<K>,
    store: &Store<T>,
    keep: fn(&K) -> Option<T>,
) -> Result<String, Broken>
where
    K: Resource + Clone + Debug + DeserializeOwned,
    T: Clone,
{
    let mut items = HashMap::new();
    let mut params = ListParams::default().limit(PAGE);
    loop {
        let page = timeout(ANSWER, api.list(&params)).await;
        let page = page.map_err(|_| Broken::Failed(format!("no answer within {ANSWER:?}")))??;
        let kept = page.items.iter();
        items.extend(kept.filter_map(|object| Some((object.name_any(), keep(object)?))));
        match page.metadata.continue_.filter(|more| !more.is_empty()) {
            Some(more) => params = params.continue_token(&more),
            None => {
                store.replace(items);
                return Ok(page.metadata.resource_version.unwrap_or_default());
            }
        }
    }
}

async fn watch<K, T>(
    api: &Api<K>,
    store: &Store<T>,
    keep: fn(&K) -> Option<T>,
    version: &mut String,
) -> Result<(), Broken>
where
    K: Resource + Clone + Debug + DeserializeOwned,
    T: Clone,
{
    let params = WatchParams::default().timeout(WATCH);
    let begun = timeout(ANSWER, api.watch(&params, version)).await;
    let begun = begun.map_err(|_| Broken::Failed(format!("no answer within {ANSWER:?}")))??;
    store.hears();
    let mut events = begun.boxed();
    while let Some(event) = events.next().await {
        match event? {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                store.put(object.name_any(), keep(&object));
                *version = object.resource_version().unwrap_or_default();
            }
            WatchEvent::Deleted(object) => {
                store.put(object.name_any(), None);
                *version = object.resource_version().unwrap_or_default();
            }
            WatchEvent::Bookmark(bookmark) => {
                version.clone_from(&bookmark.metadata.resource_version);
            }
            WatchEvent::Error(status) => return Err(kube::Error::Api(status).into()),
        }
    }
    Ok(())
}
