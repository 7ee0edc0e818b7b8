use stillpoint_lab::KeyName;

use super::{
    get,
    open::bench,
    server::{OK, Reply, Server},
};
use crate::azure::tests::redaction::capture;

/// Everything that any library logs, at trace, while keys and tokens are looked up, used and refused.
#[tokio::test]
async fn no_log_shows_a_key_a_signature_or_a_token() {
    let server = Server::https(|index, _| match index {
        0 => Reply::Answer(403, "AuthenticationFailed", &[]),
        1 => Reply::Answer(403, "KeyBasedAuthenticationNotPermitted", &[]),
        2 => Reply::Answer(401, "InvalidAuthenticationInfo", &[]),
        _ => OK,
    });
    let Some(bench) = bench(server.await).await else {
        return;
    };
    let key = bench.lab.account_key(&bench.id, KeyName::Key1).unwrap();
    let (captured, guard) = capture();
    // What another test's thread reaches first is registered as not wanted; the second round is seen.
    for _ in 0..2 {
        let account = bench.open(&bench.settings()).await.unwrap();
        let answers = [get(&account.wire, "k").await, get(&account.wire, "k").await];
        tracing::info!(wire = ?account.wire, ?answers, "the wire itself");
        tracing::callsite::rebuild_interest_cache();
    }
    drop(guard);
    let text = captured.text();
    assert!(text.contains("asked Storage"), "nothing was captured");
    assert!(!text.contains(key.as_str()), "the key is logged");
    for request in bench.server.seen() {
        let (_, secret) = request
            .header("authorization")
            .split_once([':', ' '])
            .unwrap();
        assert!(!text.contains(secret), "a signature or token is logged");
    }
    assert!(!text.contains("eyJ"), "a token is logged");
}
