//! Uploads that never come to their end.

use std::time::Duration;

use http::Method;
use rustix::process::Signal;
use stillpoint_lab::host::ObjectStore;
use stillpoint_system::{cloud::until, rig::NAME};
use tokio::{
    io::{AsyncWriteExt as _, DuplexStream, duplex},
    task::JoinHandle,
};
use tonic::Status;

use crate::fixture::{MIB, Opened, Setup, bytes};

/// An upload that has left blocks and waits for more.
struct Halfway {
    setup: Setup,
    opened: Opened,
    call: JoinHandle<Result<(), Status>>,
    _rest: DuplexStream,
}

impl Halfway {
    /// By `store`, or the plugin's usual channel.
    async fn new(store: impl AsyncFnOnce(&Opened) -> ObjectStore) -> Self {
        let setup = Setup::new().await;
        let old = setup.direct.put(&setup.container, "k", "the earlier one");
        old.await.unwrap();
        let opened = setup.open(&[("blockSizeInBytes", "262144")]).await;
        let store = store(&opened).await;
        let (reader, mut rest) = duplex(64 << 10);
        let container = setup.container.clone();
        let call = tokio::spawn(async move { store.put(&container, "k", reader).await });
        rest.write_all(&bytes(2 * MIB)).await.unwrap();
        let left = || {
            let blocks = setup.about(&Method::PUT, "/k");
            let done = blocks.iter().filter(|block| block.ended.is_some());
            (done.count() >= 6).then_some(())
        };
        until(left).await.unwrap();
        Self {
            setup,
            opened,
            call,
            _rest: rest,
        }
    }

    /// The plugin has noticed.
    async fn has_given_up(&self) {
        let logs = self.opened.plugin.logs();
        let said = logs.find(Duration::from_secs(10), |entry| {
            entry.message == "object not written"
        });
        assert!(said.await.is_some(), "{:?}", logs.entries());
    }

    /// The earlier object is untouched, and the next upload is not hindered.
    async fn is_as_if_never_begun(&self) {
        let (setup, container) = (&self.setup, &self.setup.container);
        let commit = |record: &stillpoint_system::blob::proxy::Record| {
            record.parameter("comp") == Some("blocklist")
        };
        assert!(!setup.proxy.requests().iter().any(commit));
        assert_eq!(setup.direct.list(container, "").await.unwrap(), ["k"]);
        let blob = setup.direct.get(container, "k").await.unwrap();
        assert_eq!(blob.unwrap(), "the earlier one");
        let blocks = setup.direct.blocks(container, "k").await.unwrap();
        assert!(blocks.unwrap().uncommitted.len() >= 6);

        for size in [MIB, 1000] {
            let next = setup.open(&[("blockSizeInBytes", "262144")]).await;
            let content = bytes(size);
            next.store.put(container, "k", &content[..]).await.unwrap();
            let blob = setup.direct.get(container, "k").await.unwrap();
            assert!(blob.unwrap() == content, "{size}");
        }
    }
}

async fn usual(opened: &Opened) -> ObjectStore {
    opened.store.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelled_upload_leaves_nothing() {
    let halfway = Halfway::new(usual).await;
    halfway.call.abort();
    halfway.has_given_up().await;
    halfway.is_as_if_never_begun().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn upload_of_a_host_that_is_gone_leaves_nothing() {
    let alone = async |opened: &Opened| {
        let channel = opened.plugin.handshake().connect(None).await.unwrap();
        ObjectStore::new(NAME, channel)
    };
    let halfway = Halfway::new(alone).await;
    // With the call goes the last of that connection.
    halfway.call.abort();
    halfway.has_given_up().await;
    halfway.is_as_if_never_begun().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn upload_of_a_killed_plugin_leaves_nothing() {
    let mut halfway = Halfway::new(usual).await;
    halfway.opened.plugin.kill().await.unwrap();
    assert!((&mut halfway.call).await.unwrap().is_err());
    halfway.is_as_if_never_begun().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn upload_of_a_plugin_that_is_asked_to_end_leaves_nothing() {
    let mut halfway = Halfway::new(usual).await;
    halfway.opened.plugin.signal(Signal::TERM).unwrap();
    let ended = halfway.opened.plugin.ended(Duration::from_secs(30));
    ended.await.unwrap();
    assert!((&mut halfway.call).await.unwrap().is_err());
    halfway.is_as_if_never_begun().await;
}
