//! The ObjectStore service, with stores that do as the test says.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use stillpoint_proto::velero::{self as wire, object_store_client::ObjectStoreClient};
use tonic::{Code, Status, transport::Channel};

use super::{InProcess, NAME, OTHER_NAME, start};

/// Velero's own.
const CHUNK: usize = 16 << 10;

/// A client of the service under one name.
#[derive(Clone)]
struct Client {
    plugin: &'static str,
    client: ObjectStoreClient<Channel>,
}

impl InProcess {
    fn store(&self, plugin: &'static str) -> Client {
        let client = ObjectStoreClient::new(self.channel.clone());
        Client {
            plugin,
            client: client.max_decoding_message_size(usize::MAX),
        }
    }

    async fn account(&self, plugin: &'static str, account: &str) -> Client {
        let mut store = self.store(plugin);
        store.init("storageAccount", account).await.unwrap();
        store
    }
}

impl Client {
    async fn init(&mut self, key: &str, value: &str) -> Result<(), Status> {
        let request = wire::ObjectStoreInitRequest {
            plugin: self.plugin.to_owned(),
            config: [(key.to_owned(), value.to_owned())].into(),
        };
        self.client.init(request).await.map(drop)
    }

    fn part(&self, key: &str, body: impl Into<Bytes>) -> wire::PutObjectRequest {
        wire::PutObjectRequest {
            plugin: self.plugin.to_owned(),
            bucket: "c".to_owned(),
            key: key.to_owned(),
            body: body.into(),
        }
    }

    async fn put(&mut self, key: &str, parts: &[&[u8]]) -> Result<(), Status> {
        let parts: Vec<_> = parts
            .iter()
            .map(|part| self.part(key, part.to_vec()))
            .collect();
        self.client.put_object(stream::iter(parts)).await.map(drop)
    }

    async fn exists(&mut self, key: &str) -> Result<bool, Status> {
        let request = wire::ObjectExistsRequest {
            plugin: self.plugin.to_owned(),
            bucket: "c".to_owned(),
            key: key.to_owned(),
        };
        let answer = self.client.object_exists(request).await?;
        Ok(answer.into_inner().exists)
    }

    async fn get(&mut self, key: &str) -> Result<tonic::Streaming<wire::Bytes>, Status> {
        let request = wire::GetObjectRequest {
            plugin: self.plugin.to_owned(),
            bucket: "c".to_owned(),
            key: key.to_owned(),
        };
        Ok(self.client.get_object(request).await?.into_inner())
    }

    async fn delete(&mut self, key: &str) -> Result<(), Status> {
        let request = wire::DeleteObjectRequest {
            plugin: self.plugin.to_owned(),
            bucket: "c".to_owned(),
            key: key.to_owned(),
        };
        self.client.delete_object(request).await.map(drop)
    }

    async fn signed_url(&mut self, key: &str, ttl: i64) -> Result<String, Status> {
        let request = wire::CreateSignedUrlRequest {
            plugin: self.plugin.to_owned(),
            bucket: "c".to_owned(),
            key: key.to_owned(),
            ttl,
        };
        let answer = self.client.create_signed_url(request).await?;
        Ok(answer.into_inner().url)
    }
}

#[tokio::test]
async fn every_method_is_decoded_and_encoded() {
    let plugin = start().await;
    let mut store = plugin.account(NAME, "a").await;
    for key in ["x/1", "x/2", "y/1", "z"] {
        store.put(key, &[b"one, ", b"", b"two"]).await.unwrap();
    }
    assert_eq!(plugin.objects.stored("a/c/x/1").unwrap(), "one, two");
    assert!(store.exists("z").await.unwrap());
    store.delete("z").await.unwrap();
    assert!(!store.exists("z").await.unwrap());
    let list = wire::ListCommonPrefixesRequest {
        plugin: NAME.to_owned(),
        bucket: "c".to_owned(),
        delimiter: "/".to_owned(),
        prefix: String::new(),
    };
    let prefixes = store.client.list_common_prefixes(list).await.unwrap();
    assert_eq!(prefixes.into_inner().prefixes, ["x/", "y/"]);
    let list = wire::ListObjectsRequest {
        plugin: NAME.to_owned(),
        bucket: "c".to_owned(),
        prefix: "x/".to_owned(),
    };
    let keys = store.client.list_objects(list).await.unwrap();
    assert_eq!(keys.into_inner().keys, ["x/1", "x/2"]);
    // Velero's ttl is Go's: nanoseconds.
    let url = store.signed_url("x/1", 600_000_000_000).await.unwrap();
    assert_eq!(url, "a/c/x/1 for 600s");
}

#[tokio::test]
async fn each_name_means_the_location_of_its_own_last_init() {
    let plugin = start().await;
    let mut own = plugin.account(NAME, "a").await;
    let mut other = plugin.store(OTHER_NAME);
    let error = other.delete("k").await.unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);
    assert!(error.message().contains(OTHER_NAME), "{error}");
    other.init("storageAccount", "b").await.unwrap();
    own.put("k", &[b"own"]).await.unwrap();
    other.put("k", &[b"other"]).await.unwrap();
    own.init("storageAccount", "c").await.unwrap();
    own.put("k", &[b"third"]).await.unwrap();
    for (path, stored) in [("a/c/k", "own"), ("b/c/k", "other"), ("c/c/k", "third")] {
        assert_eq!(plugin.objects.stored(path).unwrap(), stored, "{path}");
    }
}

#[tokio::test]
async fn an_init_of_disks_is_none_of_the_store() {
    let plugin = start().await;
    let snapshotter = stillpoint_lab::host::Snapshotter::new(NAME, plugin.channel.clone());
    snapshotter.init(&[("resourceGroup", "rg")]).await.unwrap();
    let error = plugin.store(NAME).put("k", &[b"x"]).await.unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);
    assert!(error.message().contains("Init"), "{error}");
}

#[tokio::test]
async fn a_failed_init_is_told_and_leaves_no_other_location_in_its_place() {
    let plugin = start().await;
    let mut store = plugin.account(NAME, "a").await;
    let error = store.init("storageAcount", "b").await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    let error = store.put("k", &[b"x"]).await.unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);
    assert!(error.message().contains("storageAcount"), "{error}");
}

#[tokio::test]
async fn names_that_are_not_served_are_refused() {
    let plugin = start().await;
    let mut store = plugin.store("velero.io/aws");
    for error in [
        store.init("storageAccount", "a").await.unwrap_err(),
        store.put("k", &[b"x"]).await.unwrap_err(),
        store.get("k").await.unwrap_err(),
        store.signed_url("k", 1).await.unwrap_err(),
    ] {
        assert_eq!(error.code(), Code::InvalidArgument);
        assert!(error.message().contains("velero.io/aws"), "{error}");
    }
}

#[tokio::test]
async fn an_upload_without_a_message_says_that_it_names_nothing() {
    let plugin = start().await;
    let mut store = plugin.account(NAME, "a").await;
    let error = store.put("k", &[]).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert!(error.message().contains("first message"), "{error}");
    store.put("k", &[b""]).await.unwrap();
    assert_eq!(plugin.objects.stored("a/c/k").unwrap(), "");
}

#[tokio::test]
async fn the_object_is_the_one_that_the_first_message_names() {
    let plugin = start().await;
    let mut store = plugin.account(NAME, "a").await;
    let mut second = store.part("elsewhere", "2");
    second.plugin = OTHER_NAME.to_owned();
    let parts = [store.part("k", "1"), second];
    store.client.put_object(stream::iter(parts)).await.unwrap();
    assert_eq!(plugin.objects.stored("a/c/k").unwrap(), "12");
    assert_eq!(plugin.objects.stored("a/c/elsewhere"), None);
}

#[tokio::test]
async fn a_store_that_fails_early_is_heard_after_all_was_sent() {
    let plugin = start().await;
    let mut store = plugin.account(NAME, "a").await;
    let sent = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    let part = store.part("refused", vec![7; CHUNK]);
    // More than the windows of HTTP/2 hold.
    let parts = stream::repeat(part).take(1000).inspect(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
    });
    let error = store.client.put_object(parts).await.unwrap_err();
    assert_eq!(error.code(), Code::PermissionDenied);
    assert_eq!(error.message(), "the key was rotated");
    assert_eq!(sent.load(Ordering::SeqCst), 1000);
}

#[tokio::test]
async fn a_cancelled_upload_leaves_what_was_there_before() {
    let plugin = start().await;
    let mut store = plugin.account(NAME, "a").await;
    for key in ["reads", "waits"] {
        let path = format!("a/c/{key}");
        plugin.objects.store(&path, "before");
        // Never ends.
        let first = store.part(key, "after");
        let parts = stream::once(async { first }).chain(stream::pending());
        let mut client = store.client.clone();
        let call = tokio::spawn(async move { client.put_object(parts).await });
        plugin.objects.begun(key).await;
        call.abort();
        plugin.objects.given_up(key).await;
        assert_eq!(plugin.objects.stored(&path).unwrap(), "before", "{key}");
    }
    store.put("k", &[b"x"]).await.unwrap();
}

#[tokio::test]
async fn shutdown_ends_an_upload_without_writing_it() {
    let plugin = start().await;
    let store = plugin.account(NAME, "a").await;
    let first = store.part("waits", "half");
    let parts = stream::once(async { first }).chain(stream::pending());
    let mut client = store.client.clone();
    let call = tokio::spawn(async move { client.put_object(parts).await });
    plugin.objects.begun("waits").await;
    let objects = Arc::clone(&plugin.objects);
    plugin.shut_down().await;
    objects.given_up("waits").await;
    assert_eq!(objects.stored("a/c/waits"), None);
    call.await.unwrap().unwrap_err();
}

#[tokio::test]
async fn an_object_comes_in_messages_of_bounded_size() {
    let plugin = start().await;
    let mut store = plugin.account(NAME, "a").await;
    let whole: Vec<u8> = (0..1_000_000u32).flat_map(u32::to_le_bytes).collect();
    for length in [0, 1, 256 << 10, (256 << 10) + 1, whole.len()] {
        plugin.objects.store("a/c/k", whole[..length].to_vec());
        let mut messages = store.get("k").await.unwrap();
        let mut read = Vec::new();
        while let Some(message) = messages.message().await.unwrap() {
            assert!((1..=256 << 10).contains(&message.data.len()));
            read.extend(message.data);
        }
        assert!(read == whole[..length], "of {length} bytes");
    }
}

#[tokio::test]
async fn a_download_that_breaks_ends_with_its_error() {
    let plugin = start().await;
    let mut store = plugin.account(NAME, "a").await;
    plugin.objects.store("a/c/breaks", "half");
    let mut messages = store.get("breaks").await.unwrap();
    assert_eq!(messages.message().await.unwrap().unwrap().data, "half");
    let error = messages.message().await.unwrap_err();
    assert_eq!(error.code(), Code::Aborted);
    assert_eq!(error.message(), "it broke");
}

#[tokio::test]
async fn a_download_that_nobody_reads_any_more_is_dropped() {
    let plugin = start().await;
    let mut store = plugin.account(NAME, "a").await;
    plugin.objects.store("a/c/endless", vec![1; 1 << 20]);
    let mut messages = store.get("endless").await.unwrap();
    messages.message().await.unwrap().unwrap();
    drop(messages);
    plugin.objects.given_up("endless").await;
}

#[tokio::test]
async fn errors_keep_their_code() {
    let plugin = start().await;
    let mut store = plugin.account(NAME, "a").await;
    for (error, code) in [
        (store.get("missing").await.unwrap_err(), Code::NotFound),
        (
            store.delete("refused").await.unwrap_err(),
            Code::PermissionDenied,
        ),
        (store.delete("defect").await.unwrap_err(), Code::Internal),
    ] {
        assert_eq!(error.code(), code, "{error}");
    }
    store.put("k", &[b"x"]).await.unwrap();
}

#[tokio::test]
async fn a_url_for_a_time_that_is_over_is_refused() {
    let plugin = start().await;
    let mut store = plugin.account(NAME, "a").await;
    for ttl in [-1, i64::MIN] {
        let error = store.signed_url("k", ttl).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
        assert!(error.message().contains(&ttl.to_string()), "{error}");
    }
}

#[tokio::test]
async fn a_message_of_any_size_is_taken() {
    let plugin = start().await;
    let mut store = plugin.account(NAME, "a").await;
    store.put("k", &[&vec![3; 12 << 20]]).await.unwrap();
    assert_eq!(plugin.objects.stored("a/c/k").unwrap().len(), 12 << 20);
}
