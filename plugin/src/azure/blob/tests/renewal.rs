//! Keys that are regenerated, keys that are forbidden, tokens that are revoked.

use std::sync::{Arc, Mutex};

use futures::future::join_all;
use object_store::azure::AzureCredential;
use stillpoint_lab::KeyName;

use super::{
    get,
    open::{Bench, bench},
    server::{OK, Reply, Seen, Server},
    wire_by_key,
};
use crate::azure::{blob::wire::Wire, transport::lock};

const REFUSED: Reply = Reply::Answer(403, "AuthenticationFailed", &[]);
/// As Azurite has it.
const REFUSED_BY_AZURITE: Reply = Reply::Answer(403, "AuthorizationFailure", &[]);

/// Takes what is signed by the key in `valid`.
fn only(
    valid: &Arc<Mutex<String>>,
    refused: fn() -> Reply,
) -> impl Fn(usize, &Seen) -> Reply + Send + Sync + use<> {
    let valid = Arc::clone(valid);
    move |_, seen: &Seen| {
        if seen.is_signed_by(&lock(&valid)) {
            OK
        } else {
            refused()
        }
    }
}

async fn eight(wire: &Wire) {
    for answer in join_all((0..8).map(|_| get(wire, "k"))).await {
        answer.unwrap();
    }
}

#[tokio::test]
async fn a_key_that_was_replaced_is_read_again_from_its_file() {
    let (first, second) = ("a2V5MQ==", "a2V5Mg==");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("cloud");
    let write = |key: &str| std::fs::write(&file, format!("KEY={key}\n")).unwrap();
    write(first);
    let valid = Arc::new(Mutex::new(first.to_owned()));
    let server = Server::plain(only(&valid, || REFUSED_BY_AZURITE)).await;
    let wire = wire_by_key(&server.url, &server.certificate, &file);
    eight(&wire).await;
    second.clone_into(&mut lock(&valid));
    let failure = get(&wire, "k").await.unwrap_err();
    assert_eq!(failure.status(), Some(403), "{failure}");
    write(second);
    eight(&wire).await;
    // A file that is gone is no reason to lose what was refused from sight.
    first.clone_into(&mut lock(&valid));
    std::fs::remove_file(&file).unwrap();
    let failure = get(&wire, "k").await.unwrap_err();
    assert_eq!(failure.status(), Some(403), "{failure}");
}

#[tokio::test]
async fn a_regenerated_key_is_listed_again_once_for_all_blocks() {
    let valid = Arc::new(Mutex::new(String::new()));
    let Some(bench) = bench(Server::plain(only(&valid, || REFUSED)).await).await else {
        return;
    };
    let key = bench.lab.account_key(&bench.id, KeyName::Key1).unwrap();
    key.as_str().clone_into(&mut lock(&valid));
    let account = bench.open(&bench.settings()).await.unwrap();
    eight(&account.wire).await;
    let key = bench.lab.regenerate_key(&bench.id, KeyName::Key1, None);
    key.unwrap().as_str().clone_into(&mut lock(&valid));
    eight(&account.wire).await;
    assert_eq!(bench.requests("/listkeys"), 2);
    // Refused although it is the account's: nothing is gained by listing for each.
    lock(&valid).clear();
    let refused = join_all((0..8).map(|_| get(&account.wire, "k"))).await;
    assert!(refused.iter().all(Result::is_err));
    assert_eq!(bench.requests("/listkeys"), 3);
}

#[tokio::test]
async fn where_keys_become_forbidden_entra_takes_over() {
    let server = Server::https(|_, seen| match seen.is_by_token() {
        true => OK,
        false => Reply::Answer(403, "KeyBasedAuthenticationNotPermitted", &[]),
    });
    let Some(bench) = bench(server.await).await else {
        return;
    };
    let account = bench.open(&bench.settings()).await.unwrap();
    eight(&account.wire).await;
    let credential = account.wire.credential().await.unwrap();
    assert!(matches!(*credential, AzureCredential::BearerToken(_)));
}

#[tokio::test]
async fn a_key_that_cannot_be_listed_any_more_gives_way_to_entra() {
    let server = Server::https(|index, seen| match seen.is_by_token() || index == 0 {
        true => OK,
        false => REFUSED,
    });
    let Some(bench) = bench(server.await).await else {
        return;
    };
    let account = bench.open(&bench.settings()).await.unwrap();
    get(&account.wire, "k").await.unwrap();
    bench.lab.lock(&bench.id).unwrap();
    eight(&account.wire).await;
}

#[tokio::test]
async fn a_revoked_token_is_replaced_by_one_login() {
    let first = Arc::new(Mutex::new(None));
    let server = Server::https(move |_, seen| {
        let token = seen.header("authorization").to_owned();
        match *lock(&first).get_or_insert_with(|| token.clone()) == token {
            true => Reply::Answer(401, "InvalidAuthenticationInfo", &[]),
            false => OK,
        }
    });
    let Some(bench) = bench(server.await).await else {
        return;
    };
    let mut settings = bench.settings();
    settings.use_entra = true;
    let account = bench.open(&settings).await.unwrap();
    let Bench { lab, .. } = &bench;
    lab.clear_requests();
    eight(&account.wire).await;
    assert_eq!(bench.requests("/oauth2/"), 1);
}
