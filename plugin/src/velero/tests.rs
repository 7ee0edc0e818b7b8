//! The ObjectStore service between a host and a store that sees what a store would see.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use hyper_util::rt::TokioIo;
use stillpoint_lab::host;
use stillpoint_proto::velero::{PutObjectRequest, object_store_client::ObjectStoreClient};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint, Server};

use super::*;
use crate::azure::blob::BlobError;

/// What a store sees of an upload.
#[derive(Debug, PartialEq)]
enum Seen {
    Beginning,
    End(Result<usize, Broken>),
}

/// Reads what is put to its end, whoever cancels, and tells how that was.
struct Witness(mpsc::UnboundedSender<Seen>);

/// Opens them.
struct Witnesses(mpsc::UnboundedSender<Seen>);

impl Open for Witnesses {
    type Opened = Witness;
    type Error = BlobError;

    async fn open(&self, _: Config, _: CancellationToken) -> Result<Witness, BlobError> {
        Ok(Witness(self.0.clone()))
    }
}

fn nothing() -> BlobError {
    BlobError::Cancelled
}

impl Store for Witness {
    type Error = BlobError;

    async fn put(
        &self,
        _: Object,
        body: &mut Body<Broken>,
        _: CancellationToken,
    ) -> Result<(), BlobError> {
        self.0.send(Seen::Beginning).unwrap();
        let read = body.try_fold(0, async |read, part| Ok(read + part.len()));
        let read = read.await;
        self.0.send(Seen::End(read.clone())).unwrap();
        Ok(read.map(|_| ())?)
    }

    /// Parts of such sizes as its key says.
    async fn get(
        &self,
        object: Object,
        _: CancellationToken,
    ) -> Result<Body<BlobError>, BlobError> {
        let sizes: Vec<usize> = object
            .key
            .split(',')
            .map(|size| size.parse().unwrap())
            .collect();
        let parts = sizes.into_iter().map(|size| Ok(vec![7; size].into()));
        Ok(stream::iter(parts).boxed())
    }

    async fn exists(&self, _: Object, _: CancellationToken) -> Result<bool, BlobError> {
        Err(nothing())
    }

    async fn common_prefixes(
        &self,
        _: String,
        _: String,
        _: String,
        _: CancellationToken,
    ) -> Result<Vec<String>, BlobError> {
        Err(nothing())
    }

    async fn objects(
        &self,
        _: String,
        _: String,
        _: CancellationToken,
    ) -> Result<Vec<String>, BlobError> {
        Err(nothing())
    }

    async fn delete(&self, _: Object, _: CancellationToken) -> Result<(), BlobError> {
        Err(nothing())
    }

    async fn signed_url(
        &self,
        _: Object,
        _: std::time::Duration,
        _: CancellationToken,
    ) -> Result<String, BlobError> {
        Err(nothing())
    }
}

/// A channel to the service, and what its stores see.
async fn start() -> (Channel, mpsc::UnboundedReceiver<Seen>) {
    let (witness, seen) = mpsc::unbounded_channel();
    let mut routes = RoutesBuilder::default();
    let served = Arc::new(Served::new(None));
    let service = ObjectStoreService(Calling::new(Calls::default(), served, Witnesses(witness)));
    add_object_store(&mut routes, service);
    let (ours, theirs) = tokio::io::duplex(64 << 10);
    let incoming = stream::once(async { Ok::<_, std::io::Error>(theirs) });
    let incoming = incoming.chain(stream::pending());
    tokio::spawn(
        Server::builder()
            .add_routes(routes.routes())
            .serve_with_incoming(incoming),
    );
    let mut ours = Some(TokioIo::new(ours));
    let connector = tower::service_fn(move |_| {
        let end = ours.take().ok_or(std::io::ErrorKind::NotConnected);
        async move { end.map_err(std::io::Error::from) }
    });
    let endpoint = Endpoint::from_static("http://localhost");
    let channel = endpoint.connect_with_connector(connector).await.unwrap();
    let store = host::ObjectStore::new(OWN_NAME.as_str(), channel.clone());
    store.init(&[]).await.unwrap();
    (channel, seen)
}

fn message(size: usize) -> PutObjectRequest {
    PutObjectRequest {
        plugin: OWN_NAME.to_string(),
        bucket: "velero".to_owned(),
        key: "key".to_owned(),
        body: Bytes::from(vec![0; size]),
    }
}

#[tokio::test]
async fn upload_that_ends_is_read_to_its_end() {
    let (channel, mut seen) = start().await;
    let messages = stream::iter([message(10), message(0), message(20)]);
    let mut client = ObjectStoreClient::new(channel);
    client.put_object(messages).await.unwrap();
    assert_eq!(seen.recv().await, Some(Seen::Beginning));
    assert_eq!(seen.recv().await, Some(Seen::End(Ok(30))));
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelled_upload_never_seems_to_have_ended() {
    let (channel, mut seen) = start().await;
    for _ in 0..50 {
        let (sender, messages) = mpsc::channel(1);
        let mut client = ObjectStoreClient::new(channel.clone());
        let call = tokio::spawn(async move {
            let messages = ReceiverStream::new(messages);
            client.put_object(messages).await.map(|_| ())
        });
        sender.send(message(16 << 10)).await.unwrap();
        assert_eq!(seen.recv().await, Some(Seen::Beginning));
        call.abort();
        assert!(call.await.unwrap_err().is_cancelled());
        let end = seen.recv().await;
        assert!(matches!(end, Some(Seen::End(Err(_)))), "{end:?}");
    }
}

#[tokio::test]
async fn download_comes_in_messages_of_limited_size() {
    let (channel, _seen) = start().await;
    let store = host::ObjectStore::new(OWN_NAME.as_str(), channel);
    let parts = store.get("velero", "0,10,600000,0,1").await.unwrap();
    let sizes: Vec<_> = parts.map_ok(|part| part.len()).try_collect().await.unwrap();
    assert_eq!(sizes, [10, 262_144, 262_144, 75_712, 1]);
}
