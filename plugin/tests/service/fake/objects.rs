//! Stores whose objects behave as they are called.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use stillpoint_plugin::velero::{self, Body, Broken, Config, Object};
use tokio_util::sync::CancellationToken;

use super::{Events, FakeError};

/// Shared with the test.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    /// By account, container and key.
    stored: Mutex<BTreeMap<String, Bytes>>,
    events: Events,
}

impl Objects {
    /// What is stored under `account/container/key`.
    pub(crate) fn stored(&self, path: &str) -> Option<Bytes> {
        self.stored.lock().unwrap().get(path).cloned()
    }

    /// Puts it there.
    pub(crate) fn store(&self, path: &str, data: impl Into<Bytes>) {
        self.stored
            .lock()
            .unwrap()
            .insert(path.to_owned(), data.into());
    }

    /// Waits until the first part of an object came.
    pub(crate) async fn begun(&self, key: &str) {
        self.events.seen(&format!("begun {key}")).await;
    }

    /// Waits until a call on it ended without success.
    pub(crate) async fn given_up(&self, key: &str) {
        self.events.seen(&format!("given up {key}")).await;
    }
}

/// Opens with any `storageAccount`.
pub(crate) struct Stores(pub(crate) Arc<Objects>);

/// One of them.
#[derive(Debug)]
pub(crate) struct Store {
    objects: Arc<Objects>,
    account: String,
}

/// Notes that it was dropped.
struct Reader(Arc<Objects>, String);

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.events.note(&format!("given up {}", self.1));
    }
}

impl velero::Open for Stores {
    type Opened = Store;
    type Error = FakeError;

    async fn open(&self, mut config: Config, _: CancellationToken) -> Result<Store, FakeError> {
        let account = config.remove("storageAccount").unwrap_or_default();
        if let Some((key, _)) = config.pop_first() {
            return Err(FakeError::Key(key));
        }
        Ok(Store {
            objects: Arc::clone(&self.0),
            account,
        })
    }
}

impl Store {
    fn path(&self, object: &Object) -> String {
        format!("{}/{}/{}", self.account, object.container, object.key)
    }

    async fn read(
        &self,
        key: &str,
        body: &mut Body<Broken>,
        cancel: &CancellationToken,
    ) -> Result<Vec<u8>, FakeError> {
        let mut whole = Vec::new();
        while let Some(part) = body.next().await {
            whole.extend(part.map_err(|_| FakeError::Broken)?);
            self.objects.events.note(&format!("begun {key}"));
            match key {
                "refused" => return Err(FakeError::Refused),
                "waits" => {
                    cancel.cancelled().await;
                    return Err(FakeError::Cancelled);
                }
                _ => {}
            }
        }
        Ok(whole)
    }

    fn keys(&self, container: &str, prefix: &str) -> Vec<String> {
        let begin = format!("{}/{container}/", self.account);
        let stored = self.objects.stored.lock().unwrap();
        let keys = stored.keys().filter_map(|path| path.strip_prefix(&begin));
        keys.filter(|key| key.starts_with(prefix))
            .map(str::to_owned)
            .collect()
    }
}

impl velero::Store for Store {
    type Error = FakeError;

    async fn put(
        &self,
        object: Object,
        body: &mut Body<Broken>,
        cancel: CancellationToken,
    ) -> Result<(), FakeError> {
        match self.read(&object.key, body, &cancel).await {
            Ok(whole) => {
                self.objects.store(&self.path(&object), whole);
                Ok(())
            }
            Err(error) => {
                self.objects
                    .events
                    .note(&format!("given up {}", object.key));
                Err(error)
            }
        }
    }

    async fn exists(&self, object: Object, _: CancellationToken) -> Result<bool, FakeError> {
        Ok(self.objects.stored(&self.path(&object)).is_some())
    }

    async fn get(
        &self,
        object: Object,
        _: CancellationToken,
    ) -> Result<Body<FakeError>, FakeError> {
        let whole = self.objects.stored(&self.path(&object));
        let whole = whole.ok_or(FakeError::Missing)?;
        let reader = Reader(Arc::clone(&self.objects), object.key.clone());
        let parts = match object.key.as_str() {
            "breaks" => stream::iter([Ok(whole), Err(FakeError::Broken)]).boxed(),
            "endless" => stream::repeat(whole).map(Ok).boxed(),
            _ => stream::iter([Ok(whole)]).boxed(),
        };
        Ok(parts
            .inspect(move |_| {
                let _ = &reader;
            })
            .boxed())
    }

    async fn common_prefixes(
        &self,
        container: String,
        prefix: String,
        delimiter: String,
        _: CancellationToken,
    ) -> Result<Vec<String>, FakeError> {
        let keys = self.keys(&container, &prefix);
        let common = keys.iter().filter_map(|key| {
            let end = key[prefix.len()..].find(&delimiter)? + delimiter.len();
            Some(key[..prefix.len() + end].to_owned())
        });
        Ok(common.collect::<BTreeSet<_>>().into_iter().collect())
    }

    async fn objects(
        &self,
        container: String,
        prefix: String,
        _: CancellationToken,
    ) -> Result<Vec<String>, FakeError> {
        Ok(self.keys(&container, &prefix))
    }

    async fn delete(&self, object: Object, _: CancellationToken) -> Result<(), FakeError> {
        match object.key.as_str() {
            "refused" => Err(FakeError::Refused),
            "defect" => panic!("a defect"),
            _ => {
                let path = self.path(&object);
                self.objects.stored.lock().unwrap().remove(&path);
                Ok(())
            }
        }
    }

    async fn signed_url(
        &self,
        object: Object,
        lifetime: Duration,
        _: CancellationToken,
    ) -> Result<String, FakeError> {
        Ok(format!("{} for {lifetime:?}", self.path(&object)))
    }
}
