//! Keys that are replaced while the plugin runs.

use std::time::Duration;

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
    // All blocks are on their way before the first is refused.
    let stall = Fault::new(Action::Stall).query("comp=block").always();
    azure.setup.proxy.arm(stall);
    let content = bytes(16 * MIB + 1);
    let release = async {
        until(|| (azure.setup.about(&Method::PUT, "/k").len() == 16).then_some(()))
            .await
            .unwrap();
        azure.setup.proxy.clear_faults();
    };
    let (put, ()) = tokio::join!(store.put(container, "k", &content[..]), release);
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
    let content = bytes(3 * MIB);
    for opened in [&listed, &named] {
        azure.setup.proxy.clear_requests();
        let store = &opened.store;
        let error = store.put(container, "k", &content[..]).await.unwrap_err();
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
        let blocks = azure.setup.about(&Method::PUT, "/k").len();
        assert!(blocks <= 6, "{blocks} requests of three blocks");
        let error = store.read(container, "k").await.unwrap_err();
        told(&error, &["k in container", "403", "regenerated"]);
        let error = store.objects(container, "").await.unwrap_err();
        told(&error, &[container, "403", "regenerated"]);
    }
    assert_eq!(azure.lists_of_keys(), 3, "one for each call");
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
    for action in [Action::Stall, Action::Refuse(refusal)] {
        let fault = Fault::new(action).query("comp=block");
        setup.proxy.arm(fault.times(16));
    }
    let content = bytes(16 * MIB + 1);
    let release = async {
        until(|| (setup.about(&Method::PUT, "/k").len() == 16).then_some(()))
            .await
            .unwrap();
        setup.proxy.clear_faults();
    };
    let put = opened.store.put(&setup.container, "k", &content[..]);
    let (put, ()) = tokio::join!(put, release);
    put.unwrap();
    let blob = setup.direct.get(&setup.container, "k").await.unwrap();
    assert!(blob.unwrap() == content);
    let requests = azure.lab.requests();
    let logins = requests.iter().filter(|it| it.path.contains("oauth2"));
    assert_eq!(logins.count(), 1);
}
