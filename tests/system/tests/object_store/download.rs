//! Downloads while the network fails and the object changes.

use std::time::Duration;

use futures::StreamExt as _;
use http::{Method, header::CONTENT_LENGTH};
use stillpoint_system::{
    blob::proxy::{Action, Fault},
    cloud::until,
};
use tonic::Code;

use crate::fixture::{MIB, Setup, bytes, told};

fn get(action: Action) -> Fault {
    Fault::new(action).method(Method::GET)
}

/// A setup whose object `k` has that content.
async fn stored(content: &[u8]) -> (Setup, String) {
    let setup = Setup::new().await;
    let put = setup
        .direct
        .put(&setup.container, "k", content.to_vec())
        .await;
    (setup, put.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_download_goes_on_with_the_rest_of_the_same_version() {
    let content = bytes(3 * MIB);
    let (setup, etag) = stored(&content).await;
    let opened = setup.open(&[]).await;
    for after in [700_000, 0, 1, 700_000, 0] {
        let met = setup.proxy.requests().len() as u32;
        // One fault for each connection in turn.
        let armed = setup.proxy.pending().len() as u32;
        setup
            .proxy
            .arm(get(Action::CutAnswer { after }).skip(met + armed));
    }
    let read = opened.store.read(&setup.container, "k").await.unwrap();
    assert!(read == content);
    assert_eq!(setup.proxy.pending(), []);
    let asked = setup.about(&Method::GET, "/k");
    assert_eq!(asked.len(), 6);
    assert_eq!(asked[0].header("range"), None);
    let mut from = 0;
    for again in &asked[1..] {
        assert_eq!(again.header("if-match"), Some(&*etag));
        let range = again.header("range").unwrap();
        let range = range.strip_prefix("bytes=").unwrap();
        let (start, end) = range.split_once('-').unwrap();
        let start: usize = start.parse().unwrap();
        assert!(start >= from, "{start} after {from}");
        assert_eq!(end.parse::<usize>().unwrap(), content.len() - 1);
        from = start;
    }
    assert!(from > 1_000_000, "{from}");
}

#[tokio::test(flavor = "multi_thread")]
async fn object_that_is_replaced_while_it_is_read_is_an_error_and_no_mix() {
    let (setup, _) = stored(&bytes(3 * MIB)).await;
    let opened = setup.open(&[]).await;
    let container = &setup.container;
    setup.proxy.arm(get(Action::CutAnswer { after: 1_000_000 }));
    setup.proxy.arm(get(Action::Stall).skip(1));
    let replace = async {
        until(|| (setup.about(&Method::GET, "/k").len() == 2).then_some(()))
            .await
            .unwrap();
        let other = vec![0xee; 3 * MIB];
        setup.direct.put(container, "k", other).await.unwrap();
        setup.proxy.clear_faults();
    };
    let (read, ()) = tokio::join!(opened.store.read(container, "k"), replace);
    let error = read.unwrap_err();
    told(
        &error,
        &[
            "k in container",
            container,
            "was replaced while it was read",
            "read it again",
        ],
    );
    assert_eq!(error.code(), Code::Aborted);

    // Also where a proxy on the way does not know of If-Match.
    setup.proxy.clear_requests();
    setup.proxy.arm(get(Action::CutAnswer { after: 1_000_000 }));
    let other = Action::header("etag", "\"other\"");
    setup.proxy.arm(get(other).skip(1));
    let error = opened.store.read(container, "k").await.unwrap_err();
    told(&error, &["was replaced while it was read"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn object_that_is_deleted_while_it_is_read_is_an_error_and_no_end() {
    let (setup, _) = stored(&bytes(3 * MIB)).await;
    let opened = setup.open(&[]).await;
    let container = &setup.container;
    setup.proxy.arm(get(Action::CutAnswer { after: 1_000_000 }));
    setup.proxy.arm(get(Action::Stall).skip(1));
    let delete = async {
        until(|| (setup.about(&Method::GET, "/k").len() == 2).then_some(()))
            .await
            .unwrap();
        let path = format!("/{container}/k");
        let deleted = setup
            .direct
            .request(Method::DELETE, &path, &[], &[], "")
            .await;
        assert!(deleted.unwrap().status().is_success());
        setup.proxy.clear_faults();
    };
    let (read, ()) = tokio::join!(opened.store.read(container, "k"), delete);
    let error = read.unwrap_err();
    assert!(
        matches!(error.code(), Code::NotFound | Code::Aborted),
        "{error}"
    );
    told(&error, &["k in container", container]);
}

#[tokio::test(flavor = "multi_thread")]
async fn answer_that_ends_too_soon_or_is_of_another_range_is_no_shorter_object() {
    let content = bytes(3 * MIB);
    let (setup, _) = stored(&content).await;
    let opened = setup.open(&[]).await;
    let cut = || get(Action::CutAnswer { after: 1_000_000 });
    setup.proxy.arm(cut());
    let short = Action::header("content-length", "500000");
    setup.proxy.arm(get(short).skip(1));
    let read = opened.store.read(&setup.container, "k").await.unwrap();
    assert!(read == content);
    assert_eq!(setup.about(&Method::GET, "/k").len(), 3);

    let nothing = Action::Header {
        name: CONTENT_LENGTH,
        value: None,
    };
    setup.proxy.arm(get(nothing));
    let read = opened.store.read(&setup.container, "k").await;
    told(
        &read.unwrap_err(),
        &["k in container", &setup.container, "Content-Length"],
    );
    setup.proxy.arm(cut());
    let other = Action::header("content-range", "bytes 0-99/100");
    setup.proxy.arm(get(other).skip(1));
    let read = opened.store.read(&setup.container, "k").await;
    told(
        &read.unwrap_err(),
        &["k in container", &setup.container, "range"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn download_that_stalls_goes_on_when_the_server_does() {
    let content = bytes(3 * MIB);
    let (setup, _) = stored(&content).await;
    let opened = setup.open(&[]).await;
    setup
        .proxy
        .arm(get(Action::StallAnswer { after: 1_000_000 }));
    let mut parts = opened.store.get(&setup.container, "k").await.unwrap();
    let mut read = Vec::new();
    while read.len() < 1_000_000 {
        read.extend_from_slice(&parts.next().await.unwrap().unwrap());
    }
    assert_eq!(read.len(), 1_000_000);
    setup.proxy.clear_faults();
    while let Some(part) = parts.next().await {
        read.extend_from_slice(&part.unwrap());
    }
    assert!(read == content);
    assert_eq!(setup.about(&Method::GET, "/k").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_reader_costs_no_memory_and_a_reader_that_leaves_ends_the_download() {
    const SIZE: usize = 64 * MIB;
    let (setup, _) = stored(&bytes(SIZE)).await;
    let opened = setup.open(&[]).await;
    let before = opened.plugin.usage().unwrap().peak_resident;
    let mut parts = opened.store.get(&setup.container, "k").await.unwrap();
    assert!(!parts.next().await.unwrap().unwrap().is_empty());
    let received = || setup.about(&Method::GET, "/k")[0].received;
    let mut ahead = 0;
    let still = async {
        // Other calls go on meanwhile.
        loop {
            assert!(opened.store.exists(&setup.container, "k").await.unwrap());
            let now = received();
            if now == std::mem::replace(&mut ahead, now) {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), still)
        .await
        .unwrap();
    // The sockets between the proxy and the plugin hold up to 10 MiB.
    assert!(ahead < 24 * MIB as u64, "{ahead} bytes were read ahead");
    let peak = opened.plugin.usage().unwrap().peak_resident;
    assert!(
        peak - before < 8 * MIB as u64,
        "from {before} to {peak} bytes"
    );
    drop(parts);
    let ended = || setup.about(&Method::GET, "/k")[0].ended;
    until(ended).await.unwrap();
    assert!(received() < SIZE as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_told_before_the_stream() {
    let setup = Setup::new().await;
    let opened = setup.open(&[]).await;
    for container in [&*setup.container, "no-such"] {
        let got = opened.store.get(container, "a/none").await.map(drop);
        let error = got.unwrap_err();
        assert_eq!(error.code(), Code::NotFound, "{error}");
        told(&error, &["a/none in container", container, "is not there"]);
    }
}
