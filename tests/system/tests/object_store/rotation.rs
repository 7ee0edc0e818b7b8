//! Keys that are replaced while the plugin runs.

use std::time::Duration;

use futures::future::join_all;
use http::Method;
use stillpoint_lab::{KeyName, Settings};
use stillpoint_system::{
    blob::{
        Account, Authority, Azurite, Data, Logins,
        proxy::{Action, Fault, Refusal},
    },
    cloud::until,
};
use tonic::Code;

use crate::{
    azure::{Azure, key},
    fetch::fetch,
    fixture::{KEY, MIB, Setup, bytes, told},
};

/// A server that refuses a wrong key as Azure does.
fn azurite() -> Azurite {
    let accounts = [Account::new("rotated").unwrap()];
    let authority = Authority::new().unwrap();
    Azurite::start(&authority, &accounts, Logins::Keys, Data::Temporary).unwrap()
}

/// The account has another key from now on.
fn rotate(azurite: &mut Azurite) -> Account {
    let account = Account::new("rotated").unwrap();
    azurite.restart(std::slice::from_ref(&account)).unwrap();
    account
}

/// Azurite has another code for a wrong key, the one that Azure has for its firewall.
fn as_azure_says_it(setup: &Setup) {
    let code = Action::header("x-ms-error-code", "AuthenticationFailed");
    setup.proxy.arm(Fault::new(code).always());
}

/// Holds the blocks of `k` until 16 are on their way, so that none is refused before the last was sent. Then they meet
/// this, and what is sent later meets no fault.
fn all_blocks_at_once(setup: &Setup, then: Option<Action>) -> impl Future<Output = ()> {
    for action in std::iter::once(Action::Stall).chain(then) {
        let fault = Fault::new(action).query("comp=block");
        setup.proxy.arm(fault.always());
    }
    async {
        until(|| (setup.about(&Method::PUT, "/k").len() == 16).then_some(()))
            .await
            .unwrap();
        setup.proxy.clear_faults();
    }
}

const BLOCKS: (&str, &str) = ("blockSizeInBytes", "1048576");

#[tokio::test(flavor = "multi_thread")]
async fn listed_key_that_was_replaced_is_listed_once_by_all_that_need_it() {
    let mut azurite = azurite();
    let Some(azure) = Azure::with(&azurite, Settings::fast()).await else {
        return;
    };
    let container = &azure.setup.container;
    let opened = azure.open(&[BLOCKS]).await.unwrap();
    let store = &opened.store;
    store.put(container, "old", &b"old"[..]).await.unwrap();

    let new = rotate(&mut azurite);
    let regenerated = azure
        .lab
        .regenerate_key(&azure.id, KeyName::Key1, Some(key(&new)));
    regenerated.unwrap();
    azure.lab.clear_requests();
    azure.setup.proxy.clear_requests();
    let content = bytes(16 * MIB + 1);
    let put = store.put(container, "k", &content[..]);
    let (put, ()) = tokio::join!(put, all_blocks_at_once(&azure.setup, None));
    put.unwrap();
    assert_eq!(azure.lists_of_keys(), 1);
    let direct = azurite.client().unwrap();
    assert!(direct.get(container, "k").await.unwrap().unwrap() == content);
    assert_eq!(store.read(container, "old").await.unwrap(), b"old");

    // A second rotation is another matter: it is asked again.
    let new = rotate(&mut azurite);
    let regenerated = azure
        .lab
        .regenerate_key(&azure.id, KeyName::Key1, Some(key(&new)));
    regenerated.unwrap();
    assert_eq!(store.read(container, "old").await.unwrap(), b"old");
    assert_eq!(azure.lists_of_keys(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn key_of_a_file_is_read_again() {
    let mut azurite = azurite();
    let setup = Setup::before(&azurite).await;
    let container = &setup.container;
    let opened = setup.open(&[BLOCKS]).await;
    let store = &opened.store;
    store.put(container, "k", &b"old"[..]).await.unwrap();
    let new = rotate(&mut azurite);
    setup.file("cloud", &format!("{KEY}={}\n", new.key()));
    let content = bytes(5 * MIB);
    store.put(container, "k", &content[..]).await.unwrap();
    assert!(store.read(container, "k").await.unwrap() == content);

    // While a download is under way too: what it goes on with is signed by the new key.
    setup.proxy.clear_requests();
    setup
        .proxy
        .arm(Fault::new(Action::CutAnswer { after: 1_000_000 }));
    setup.proxy.arm(Fault::new(Action::Stall).skip(1));
    let rotation = async {
        until(|| (setup.about(&Method::GET, "/k").len() == 2).then_some(()))
            .await
            .unwrap();
        let new = rotate(&mut azurite);
        setup.file("cloud", &format!("{KEY}={}\n", new.key()));
        setup.proxy.clear_faults();
    };
    let (read, ()) = tokio::join!(store.read(container, "k"), rotation);
    assert!(read.unwrap() == content);

    // A file that is gone by then is no reason to do nothing but for what the old key refuses.
    std::fs::remove_file(setup.directory.path().join("cloud")).unwrap();
    assert!(store.read(container, "k").await.unwrap() == content);
    rotate(&mut azurite);
    let error = store.read(container, "k").await.unwrap_err();
    told(&error, &["k in container", "rotated", "403"]);
    let logs = opened.plugin.logs();
    let said = logs.find(Duration::from_secs(10), |entry| {
        entry.message.ends_with("cannot be read again")
    });
    assert!(said.await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn key_that_is_wrong_is_one_error_after_one_look() {
    let mut azurite = azurite();
    let Some(azure) = Azure::with(&azurite, Settings::fast()).await else {
        return;
    };
    let container = &azure.setup.container;
    let listed = azure.open(&[BLOCKS]).await.unwrap();
    let named = azure.setup.open(&[BLOCKS]).await;
    rotate(&mut azurite);
    as_azure_says_it(&azure.setup);
    azure.lab.clear_requests();
    let content = bytes(16 * MIB + 1);
    for opened in [&listed, &named] {
        let setup = &azure.setup;
        setup.proxy.clear_requests();
        let store = &opened.store;
        let put = store.put(container, "k", &content[..]);
        let (put, ()) = tokio::join!(put, all_blocks_at_once(setup, None));
        let error = put.unwrap_err();
        assert_eq!(error.code(), Code::PermissionDenied);
        told(
            &error,
            &[
                "k in container",
                "rotated",
                "403",
                "regenerated",
                "`storageAccountKeyEnvVar`",
            ],
        );
        // What was on its way with the new look's result, and nothing again.
        let blocks = setup.about(&Method::PUT, "/k").len();
        assert!(blocks <= 17, "{blocks} requests of 17 blocks");
        as_azure_says_it(setup);
        let error = store.read(container, "k").await.unwrap_err();
        told(&error, &["k in container", "403", "regenerated"]);
        let error = store.objects(container, "").await.unwrap_err();
        told(&error, &[container, "403", "regenerated"]);
    }
    assert_eq!(azure.lists_of_keys(), 3, "one for each call");

    // Of calls that are refused together one looks.
    azure.lab.clear_requests();
    azure.setup.proxy.clear_requests();
    let stall = Fault::new(Action::Stall).query("comp=list").always();
    azure.setup.proxy.arm(stall);
    let lists = join_all((0..8).map(|_| listed.store.objects(container, "")));
    let release = async {
        until(|| (azure.setup.proxy.requests().len() == 8).then_some(()))
            .await
            .unwrap();
        azure.setup.proxy.clear_faults();
    };
    let (lists, ()) = tokio::join!(lists, release);
    assert!(lists.iter().all(Result::is_err), "{lists:?}");
    assert_eq!(azure.lists_of_keys(), 1);
    assert_eq!(azure.setup.proxy.requests().len(), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn signed_url_after_a_rotation_works() {
    let mut azurite = azurite();
    let Some(azure) = Azure::with(&azurite, Settings::fast()).await else {
        return;
    };
    let setup = &azure.setup;
    let container = &setup.container;
    let listed = azure.open(&[]).await.unwrap();
    let named = setup.open(&[]).await;
    setup.direct.put(container, "k", "content").await.unwrap();
    let new = rotate(&mut azurite);
    let regenerated = azure
        .lab
        .regenerate_key(&azure.id, KeyName::Key1, Some(key(&new)));
    regenerated.unwrap();
    setup.file("cloud", &format!("{KEY}={}\n", new.key()));
    as_azure_says_it(setup);
    for opened in [&listed, &named] {
        let lifetime = Duration::from_secs(600);
        let url = opened.store.signed_url(container, "k", lifetime).await;
        let (status, content) = fetch(setup, &url.unwrap()).await;
        assert_eq!((status, &*content), (200, &b"content"[..]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn account_that_allows_its_keys_no_more_is_reached_by_entra() {
    let Some(azure) = Azure::start().await else {
        return;
    };
    let opened = azure.open(&[BLOCKS]).await.unwrap();
    let container = &azure.setup.container;
    let put = |key| opened.store.put(container, key, &b"content"[..]);
    put("before").await.unwrap();
    let refusal = Refusal::new(403, "KeyBasedAuthenticationNotPermitted");
    let refuse = Fault::new(Action::Refuse(refusal));
    azure.setup.proxy.arm(refuse.clone());
    put("after").await.unwrap();
    let entries = opened.plugin.logs().entries();
    let said = entries
        .iter()
        .filter(|entry| entry.message.starts_with("Entra instead"));
    assert_eq!(said.count(), 1);

    // Where the location itself names the key, that is an error.
    let named = azure.setup.open(&[]).await;
    azure.setup.proxy.arm(refuse.always());
    let put = named.store.put(container, "named", &b"content"[..]);
    told(
        &put.await.unwrap_err(),
        &["named in container", "does not allow its keys", "`useAAD`"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn token_that_is_refused_is_replaced_once_by_all_that_need_it() {
    let Some(azure) = Azure::start().await else {
        return;
    };
    let setup = &azure.setup;
    let opened = azure.open(&[("useAAD", "true"), BLOCKS]).await.unwrap();
    azure.lab.revoke_tokens();
    azure.lab.clear_requests();
    let refusal = Refusal::new(401, "InvalidAuthenticationInfo");
    let content = bytes(16 * MIB + 1);
    let put = opened.store.put(&setup.container, "k", &content[..]);
    let refuse = Some(Action::Refuse(refusal));
    let (put, ()) = tokio::join!(put, all_blocks_at_once(setup, refuse));
    put.unwrap();
    let blob = setup.direct.get(&setup.container, "k").await.unwrap();
    assert!(blob.unwrap() == content);
    let requests = azure.lab.requests();
    let logins = requests.iter().filter(|it| it.path.contains("oauth2"));
    assert_eq!(logins.count(), 1);
}
