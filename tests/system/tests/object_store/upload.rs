//! Uploads while the network and the server fail.

use std::time::Duration;

use futures::future::join_all;
use http::Method;
use stillpoint_system::{
    blob::proxy::{Action, Fault, Refusal},
    cloud::until,
};
use tokio::io::{AsyncWriteExt as _, duplex};

use crate::fixture::{MIB, Setup, bytes};

/// Each request of an upload: what its query has, and the size of an object that needs it with blocks of 256 KiB.
const REQUESTS: [(&str, &str, usize); 3] = [
    ("whole", "", 200_000),
    ("block", "comp=block", 700_000),
    ("list", "comp=blocklist", 700_000),
];

fn busy(status: u16) -> Refusal {
    Refusal::new(status, "ServerBusy")
}

#[tokio::test(flavor = "multi_thread")]
async fn blob_is_whole_whatever_one_of_its_requests_meets() {
    let setup = Setup::new().await;
    let opened = setup.open(&[("blockSizeInBytes", "262144")]).await;
    let actions = [
        (
            "throttled",
            Action::Refuse(busy(429).with("retry-after", "1")),
        ),
        ("busy", Action::Refuse(busy(503))),
        ("before", Action::CloseBefore),
        ("at-once", Action::CutRequest { after: 0 }),
        ("within", Action::CutRequest { after: 100 }),
        ("after", Action::CloseAfter),
        ("answered-else", Action::Replace(busy(500))),
    ];
    let (setup, store) = (&setup, &opened.store);
    let uploads = REQUESTS.iter().flat_map(|&(request, query, size)| {
        actions.iter().map(move |(name, action)| async move {
            let key = format!("{request}-{name}");
            let fault = Fault::new(action.clone()).method(Method::PUT).path(&key);
            setup.proxy.arm(fault.query(query));
            let put = store.put(&setup.container, &key, &bytes(size)[..]).await;
            assert!(put.is_ok(), "{key}: {put:?}");
            let blob = setup.direct.get(&setup.container, &key).await.unwrap();
            assert!(blob.unwrap() == bytes(size), "{key} is not whole");
        })
    });
    join_all(uploads).await;
    assert_eq!(setup.proxy.pending(), []);

    let waited = setup.about(&Method::PUT, "whole-throttled");
    assert_eq!(waited.len(), 2);
    let pause = waited[1].began - waited[0].ended.unwrap();
    assert!(pause >= Duration::from_secs(1), "Retry-After: {pause:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_block_may_fail_several_times() {
    let setup = Setup::new().await;
    let opened = setup.open(&[("blockSizeInBytes", "262144")]).await;
    let content = bytes(3 * MIB);
    for (skip, action) in [
        (0, Action::CutRequest { after: 100_000 }),
        (2, Action::Refuse(busy(503))),
        (5, Action::CloseAfter),
        (9, Action::CloseBefore),
    ] {
        let fault = Fault::new(action).query("comp=block");
        setup.proxy.arm(fault.skip(skip).times(3));
    }
    let put = opened.store.put(&setup.container, "k", &content[..]);
    put.await.unwrap();
    assert_eq!(setup.proxy.pending(), []);
    let blob = setup.direct.get(&setup.container, "k").await.unwrap();
    assert!(blob.unwrap() == content);
    let blocks = setup.direct.blocks(&setup.container, "k").await.unwrap();
    assert_eq!(blocks.unwrap().uncommitted, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_have_the_locations_size_and_go_several_at_a_time() {
    let setup = Setup::new().await;
    let opened = setup.open(&[("blockSizeInBytes", "1048576")]).await;
    let content = bytes(20 * MIB + 1);
    let stall = Fault::new(Action::Stall).query("comp=block").always();
    setup.proxy.arm(stall);
    let put = opened.store.put(&setup.container, "k", &content[..]);
    let release = async {
        // All that the plugin sends at once.
        let sent = || (setup.about(&Method::PUT, "/k").len() == 16).then_some(());
        until(sent).await.unwrap();
        setup.proxy.clear_faults();
    };
    let (put, ()) = tokio::join!(put, release);
    put.unwrap();
    assert_eq!(setup.proxy.most_at_once(), 16);
    let blocks = setup.direct.blocks(&setup.container, "k").await.unwrap();
    let sizes: Vec<_> = blocks.unwrap().committed.iter().map(|it| it.1).collect();
    assert_eq!(sizes[..20], [MIB as u64; 20]);
    assert_eq!(sizes[20..], [1]);
    let blob = setup.direct.get(&setup.container, "k").await.unwrap();
    assert!(blob.unwrap() == content);
}

/// What a block holds is mapped for it alone, so that the process's peak tells how many there were.
#[tokio::test(flavor = "multi_thread")]
async fn memory_does_not_grow_with_the_object_nor_with_the_servers_slowness() {
    const SIZE: usize = 96 * MIB;
    /// Five blocks of 4 MiB, and what the channels in between hold: of SIZE it is less than half.
    const MOST: u64 = 40 * MIB as u64;
    let setup = Setup::new().await;
    let opened = setup.open(&[]).await;
    let before = opened.plugin.usage().unwrap().peak_resident;
    let stall = Fault::new(Action::Stall).query("comp=block").always();
    setup.proxy.arm(stall);
    let (reader, mut writer) = duplex(64 << 10);
    let put = opened.store.put(&setup.container, "k", reader);
    let writing = async {
        let piece = bytes(MIB);
        let mut written = 0;
        // As long as it takes more; a slow machine only tests less.
        let patience = Duration::from_millis(500);
        while written < SIZE {
            let write = writer.write_all(&piece);
            if tokio::time::timeout(patience, write).await.is_err() {
                break;
            }
            written += MIB;
        }
        let sent = || (setup.about(&Method::PUT, "/k").len() == 4).then_some(());
        until(sent).await.unwrap();
        assert!(written < 32 * MIB, "{written} bytes were taken");
        setup.proxy.clear_faults();
        // The piece that was cut off went in part; what is in the blob does not matter here.
        while written < SIZE {
            writer.write_all(&piece).await.unwrap();
            written += MIB;
        }
        drop(writer);
    };
    let (put, ()) = tokio::join!(put, writing);
    put.unwrap();
    let blob = setup.direct.head(&setup.container, "k").await.unwrap();
    assert!(blob.unwrap().size >= SIZE as u64);
    let peak = opened.plugin.usage().unwrap().peak_resident;

    assert!(peak - before < MOST, "from {before} to {peak} bytes");
}
