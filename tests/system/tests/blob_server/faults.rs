//! Each fault of the proxy.

use std::time::Duration;

use anyhow::Result;
use http::{Method, StatusCode};
use stillpoint_system::{
    blob::proxy::{Action, Fault, Record, Refusal},
    cloud::until,
};

use crate::{Setup, bytes};

/// The last request, once it has ended.
async fn last(setup: &Setup) -> Result<Record> {
    until(|| setup.proxy.requests().pop().filter(|it| it.ended.is_some())).await
}

fn busy() -> Refusal {
    Refusal::new(503, "ServerBusy").with("retry-after", "7")
}

#[tokio::test]
async fn without_faults_it_passes_all_on_and_logs_it() {
    let setup = Setup::new().await.unwrap();
    let (client, container) = (&setup.through, &setup.container);
    let blob = bytes(9 << 20);
    client.put(container, "a b", blob.clone()).await.unwrap();
    let put = last(&setup).await.unwrap();
    assert_eq!((put.method.as_str(), put.sent), ("PUT", 9 << 20));
    assert_eq!(put.path, format!("/shared/{container}/a%20b"));
    assert_eq!(put.status, Some(StatusCode::CREATED));
    assert_eq!(put.header("authorization"), None);
    assert!(put.header("x-ms-date").is_some());

    assert_eq!(client.get(container, "a b").await.unwrap().unwrap(), blob);
    assert_eq!(last(&setup).await.unwrap().received, 9 << 20);
    assert_eq!(client.list(container, "a").await.unwrap(), ["a b"]);
    assert_eq!(last(&setup).await.unwrap().parameter("prefix"), Some("a"));
    assert!(client.head(container, "a b").await.unwrap().is_some());
    assert_eq!(setup.proxy.requests().len(), 4);
    assert_eq!(setup.proxy.most_at_once(), 1);
    setup.proxy.clear_requests();
    assert!(setup.proxy.requests().is_empty());
}

#[tokio::test]
async fn only_the_request_that_is_meant_meets_the_fault() {
    let setup = Setup::new().await.unwrap();
    let (client, container) = (&setup.through, &setup.container);
    let fault = Fault::new(Action::Refuse(busy()))
        .method(Method::GET)
        .path("/blob")
        .query("comp=blocklist")
        .skip(1);
    setup.proxy.arm(fault.clone());
    client.put(container, "blob", "x").await.unwrap();
    client.get(container, "blob").await.unwrap();
    client.blocks(container, "other").await.unwrap();
    client.blocks(container, "blob").await.unwrap();
    assert_eq!(setup.proxy.pending(), [fault]);
    assert!(client.blocks(container, "blob").await.is_err());
    assert_eq!(last(&setup).await.unwrap().faults, ["refuse 503"]);
    assert!(setup.proxy.pending().is_empty());
    client.blocks(container, "blob").await.unwrap();

    setup.proxy.arm(Fault::new(Action::Refuse(busy())).always());
    for _ in 0..3 {
        assert!(client.get(container, "blob").await.is_err());
    }
    setup.proxy.clear_faults();
    client.get(container, "blob").await.unwrap();
}

#[tokio::test]
async fn refused_request_is_not_carried_out_and_a_replaced_one_is() {
    let setup = Setup::new().await.unwrap();
    let container = &setup.container;
    for (action, carried_out) in [
        (Action::Refuse(busy()), false),
        (Action::Replace(busy()), true),
    ] {
        setup.proxy.arm(Fault::new(action.clone()));
        let key = format!("blob-{carried_out}");
        let path = format!("/{container}/{key}");
        let headers = [("x-ms-blob-type", "BlockBlob")];
        let answer = setup
            .through
            .request(Method::PUT, &path, &[], &headers, bytes(3 << 20))
            .await
            .unwrap();
        assert_eq!(answer.status(), 503, "{action}");
        assert_eq!(
            answer.headers()["x-ms-error-code"],
            "ServerBusy",
            "{action}"
        );
        assert_eq!(answer.headers()["retry-after"], "7", "{action}");
        let text = answer.text().await.unwrap();
        assert!(text.contains("<Code>ServerBusy</Code>"), "{action}: {text}");
        assert_eq!(last(&setup).await.unwrap().sent, 3 << 20, "{action}");
        let found = setup.direct.head(container, &key).await.unwrap();
        assert_eq!(found.is_some(), carried_out, "{action}");
    }
    // An answer to HEAD has no body, and the connection is good for the next request.
    setup.proxy.arm(Fault::new(Action::Refuse(busy())));
    assert!(setup.through.head(container, "blob-true").await.is_err());
    let found = setup.through.head(container, "blob-true").await.unwrap();
    assert!(found.is_some());
}

#[tokio::test]
async fn closed_connection_comes_before_or_after_the_deed() {
    let setup = Setup::new().await.unwrap();
    let container = &setup.container;
    for (action, carried_out) in [(Action::CloseBefore, false), (Action::CloseAfter, true)] {
        setup.proxy.arm(Fault::new(action.clone()));
        let key = format!("blob-{carried_out}");
        let put = setup.through.put(container, &key, bytes(3 << 20)).await;
        assert!(put.is_err(), "{action}");
        assert_eq!(last(&setup).await.unwrap().status, None, "{action}");
        let found = setup.direct.head(container, &key).await.unwrap();
        assert_eq!(found.is_some(), carried_out, "{action}");
    }
}

#[tokio::test]
async fn cut_request_is_never_carried_out() {
    let setup = Setup::new().await.unwrap();
    let container = &setup.container;
    for after in [0, 1, 1 << 20] {
        setup.proxy.arm(Fault::new(Action::CutRequest { after }));
        let put = setup.through.put(container, "blob", bytes(3 << 20)).await;
        assert!(put.is_err(), "{after}");
        assert_eq!(last(&setup).await.unwrap().sent, after);
    }
    // Behind the cut ones in the server's queue, if they were in it.
    setup.through.put(container, "else", "x").await.unwrap();
    assert_eq!(setup.direct.list(container, "").await.unwrap(), ["else"]);
}

#[tokio::test]
async fn cut_answer_ends_in_the_middle() {
    let setup = Setup::new().await.unwrap();
    let container = &setup.container;
    let blob = bytes(3 << 20);
    setup
        .direct
        .put(container, "blob", blob.clone())
        .await
        .unwrap();
    for after in [0, 1, 100_000] {
        setup.proxy.arm(Fault::new(Action::CutAnswer { after }));
        let mut answer = setup
            .through
            .open(container, "blob")
            .await
            .unwrap()
            .unwrap();
        assert_eq!(answer.content_length(), Some(3 << 20));
        let mut read = Vec::new();
        let end = loop {
            match answer.chunk().await {
                Ok(Some(chunk)) => read.extend(chunk),
                end => break end,
            }
        };
        assert!(end.is_err(), "{after}: it ended as if whole");
        assert!(
            blob.starts_with(&read) && read.len() as u64 == after,
            "{after}"
        );
        assert_eq!(last(&setup).await.unwrap().received, after);
    }
    let read = setup.through.get(container, "blob").await.unwrap();
    assert_eq!(read.unwrap(), blob);
}

#[tokio::test]
async fn what_stalls_goes_on_when_the_faults_are_cleared() {
    let setup = Setup::new().await.unwrap();
    let container = &setup.container;
    setup.proxy.arm(Fault::new(Action::Stall));
    let put = setup.through.put(container, "blob", bytes(3 << 20));
    let look = async {
        until(|| (setup.proxy.requests().len() == 1).then_some(()))
            .await
            .unwrap();
        assert_eq!(setup.direct.head(container, "blob").await.unwrap(), None);
        setup.proxy.clear_faults();
    };
    let (put, ()) = tokio::join!(put, look);
    put.unwrap();

    setup
        .proxy
        .arm(Fault::new(Action::StallAnswer { after: 1000 }));
    let mut answer = setup
        .through
        .open(container, "blob")
        .await
        .unwrap()
        .unwrap();
    let mut read = Vec::new();
    while read.len() < 1000 {
        read.extend(answer.chunk().await.unwrap().unwrap());
    }
    assert_eq!(read.len(), 1000);
    let more = tokio::time::timeout(Duration::from_millis(20), answer.chunk()).await;
    assert!(more.is_err(), "it did not stall");
    assert_eq!(setup.proxy.requests().pop().unwrap().ended, None);
    setup.proxy.clear_faults();
    while let Some(chunk) = answer.chunk().await.unwrap() {
        read.extend(chunk);
    }
    assert_eq!(read, bytes(3 << 20));
}

#[tokio::test]
async fn header_of_the_answer_is_changed_or_left_out() {
    let setup = Setup::new().await.unwrap();
    let container = &setup.container;
    setup.direct.put(container, "blob", "x").await.unwrap();
    setup
        .proxy
        .arm(Fault::new(Action::header("etag", "\"other\"")));
    let properties = setup.through.head(container, "blob").await.unwrap();
    assert_eq!(properties.unwrap().etag, "\"other\"");
    setup.proxy.arm(Fault::new(Action::Header {
        name: http::header::ETAG,
        value: None,
    }));
    assert!(setup.through.head(container, "blob").await.is_err());
    setup.through.head(container, "blob").await.unwrap();
}

#[tokio::test]
async fn requests_at_once_are_counted() {
    let setup = Setup::new().await.unwrap();
    let container = &setup.container;
    setup.proxy.arm(Fault::new(Action::Stall).always());
    let put = async |key| setup.through.put(container, key, "x").await.unwrap();
    let clear = async {
        until(|| (setup.proxy.requests().len() == 3).then_some(()))
            .await
            .unwrap();
        setup.proxy.clear_faults();
    };
    tokio::join!(put("a"), put("b"), put("c"), clear);
    assert_eq!(setup.proxy.most_at_once(), 3);
}
