use std::time::Duration;

use object_store::client::{HttpRequest, HttpRequestBody};
use tempfile::TempDir;
use tokio::time::Instant;

use super::{
    get,
    server::{OK, Reply, Server},
    wire_by_key,
};
use crate::azure::{
    blob::{BlobError, wire::Wire},
    failure::Failure,
};

const KEY: &str = "a2V5MQ==";

/// A wire to an account that does what `script` says, by [`KEY`].
async fn bench(script: impl Fn(usize) -> Reply + Send + Sync + 'static) -> (Server, Wire, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("cloud");
    std::fs::write(&file, format!("KEY={KEY}\n")).unwrap();
    let server = Server::plain(move |index, _| script(index)).await;
    let wire = wire_by_key(&server.url, &server.certificate, &file);
    (server, wire, directory)
}

#[tokio::test]
async fn what_passes_is_tried_again_signed_anew() {
    let (server, wire, _directory) = bench(|index| match index {
        0 => Reply::Close,
        1 => Reply::Answer(503, "ServerBusy", &[]),
        2 => Reply::Answer(500, "OperationTimedOut", &[]),
        3 => Reply::Answer(408, "", &[]),
        4 => Reply::Answer(429, "", &[("retry-after", "1")]),
        _ => OK,
    })
    .await;
    get(&wire, "k").await.unwrap();
    let seen = server.seen();
    assert_eq!(seen.len(), 6);
    for request in &seen {
        assert!(request.is_signed_by(KEY), "{request:?}");
    }
    assert_ne!(seen[4].header("date"), seen[5].header("date"));
}

#[tokio::test]
async fn what_is_final_is_told_at_once_with_its_code() {
    for (status, code) in [
        (404, "BlobNotFound"),
        (403, "AuthorizationPermissionMismatch"),
        (403, "AuthenticationFailed"),
        (409, "ContainerBeingDeleted"),
        (412, "ConditionNotMet"),
        (307, ""),
    ] {
        let (server, wire, _directory) = bench(move |_| Reply::Answer(status, code, &[])).await;
        let failure = get(&wire, "k").await.unwrap_err();
        assert_eq!(failure.status(), Some(status), "{failure}");
        assert!(code.is_empty() || failure.is_code(code), "{failure}");
        assert_eq!(server.seen().len(), 1, "{code}");
    }
}

#[tokio::test]
async fn the_encoding_of_a_key_is_undone_before_it_is_signed() {
    let (server, wire, _directory) = bench(|_| OK).await;
    get(&wire, "a%252Fb%2520%2525").await.unwrap();
    let seen = &server.seen()[0];
    assert_eq!(seen.target, "/c/a%2Fb%20%25");
    assert!(seen.is_signed_by(KEY));
}

#[tokio::test]
async fn an_account_that_never_answered_is_given_up_soon_and_one_that_did_is_not() {
    let (server, wire, _directory) = bench(|_| OK).await;
    let (other, unknown, _directory) = bench(|_| Reply::Hang).await;
    get(&wire, "k").await.unwrap();
    drop(server);
    tokio::time::pause();
    for (wire, least, most) in [(&wire, 90, 121), (&unknown, 15, 26)] {
        let begun = Instant::now();
        let failure = get(wire, "k").await.unwrap_err();
        assert!(failure.is_transient(), "{failure}");
        let seconds = Duration::from_secs;
        let took = begun.elapsed();
        assert!(took >= seconds(least) && took <= seconds(most), "{took:?}");
    }
    assert!(!other.seen().is_empty());
}

#[tokio::test]
async fn after_a_hang_nothing_is_sent_on_the_connections_of_before() {
    let (server, wire, _directory) = bench(|index| match index {
        3 => Reply::Hang,
        _ => OK,
    })
    .await;
    // Two connections, both idle then.
    let (one, other) = tokio::join!(get(&wire, "k"), get(&wire, "k"));
    one.and(other).unwrap();
    get(&wire, "k").await.unwrap();
    tokio::time::pause();
    get(&wire, "k").await.unwrap();
    let seen = server.seen();
    assert_eq!(seen.len(), 5);
    let before: Vec<_> = seen[..4].iter().map(|seen| seen.connection).collect();
    assert!(!before.contains(&seen[4].connection), "{seen:?}");
}

#[tokio::test]
async fn a_certificate_that_nobody_trusts_is_told_at_once() {
    let (server, other) = (
        Server::https(|_, _| OK).await,
        Server::https(|_, _| OK).await,
    );
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("cloud");
    std::fs::write(&file, format!("KEY={KEY}\n")).unwrap();
    let wire = wire_by_key(&server.url, &other.certificate, &file);
    let failure = get(&wire, "k").await.unwrap_err();
    assert!(!failure.is_transient(), "{failure}");
    let error = BlobError::of(failure, "x".to_owned(), Duration::ZERO).to_string();
    for part in ["127.0.0.1", "`caCert`"] {
        assert!(error.contains(part), "{part} in {error}");
    }
}

#[tokio::test]
async fn nobody_but_the_account_sees_a_signature() {
    let (server, wire, _directory) = bench(|_| OK).await;
    let (elsewhere, ..) = bench(|_| OK).await;
    let mut request = HttpRequest::new(HttpRequestBody::empty());
    *request.uri_mut() = format!("{}c/k", elsewhere.url).parse().unwrap();
    let failure = wire.send(request).await.unwrap_err();
    assert!(matches!(failure, Failure::Malformed(_)), "{failure}");
    assert!(
        failure.to_string().contains(server.url.as_str()),
        "{failure}"
    );
    assert!(elsewhere.seen().is_empty());
}
