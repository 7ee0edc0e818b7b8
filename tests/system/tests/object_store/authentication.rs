//! With which key or token a location reaches its account.

use http::Method;
use stillpoint_lab::{Credential, Identity};
use stillpoint_system::{
    blob::{
        Account, Authority, Azurite, Data, Logins,
        proxy::{Action, Fault},
    },
    cloud::{Cloud, until},
};

use crate::{
    azure::Azure,
    fixture::{KEY, MIB, Opened, Setup, bytes, init, with},
};

/// It works, with the credential that is meant.
async fn works(opened: &Opened, setup: &Setup, credential: &str) {
    let said = opened.said("credential").await;
    assert!(said.contains(credential), "{credential:?} in {said:?}");
    let (store, container) = (&opened.store, &setup.container);
    store.put(container, "k", &b"content"[..]).await.unwrap();
    assert_eq!(store.read(container, "k").await.unwrap(), b"content");
    assert!(store.exists(container, "k").await.unwrap());
    assert_eq!(store.objects(container, "").await.unwrap(), ["k"]);
    store.delete(container, "k").await.unwrap();
    assert!(!store.exists(container, "k").await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn key_comes_from_the_credentials_file_or_the_environment() {
    let setup = Setup::new().await;
    let by_file = setup.open(&[]).await;
    works(&by_file, &setup, KEY).await;

    let named = [("storageAccountKeyEnvVar", KEY)];
    let config = with(setup.location(), &named);
    let host = Cloud::host().unwrap().variable(KEY, setup.account.key());
    let by_environment = Opened::new(host, &config).await.unwrap();
    works(&by_environment, &setup, KEY).await;

    // A key needs no login.
    let elsewhere = [
        ("activeDirectoryAuthorityURI", "https://login.invalid"),
        ("resourceManagerEndpoint", "https://arm.invalid"),
    ];
    works(&setup.open(&elsewhere).await, &setup, KEY).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cloud_decides_where_an_account_is_that_says_nothing_else() {
    let setup = Setup::new().await;
    for (cloud, endpoint) in [
        ("", "https://shared.blob.core.windows.net/"),
        (
            "AzureChinaCloud",
            "https://shared.blob.core.chinacloudapi.cn/",
        ),
        (
            "AzureUSGovernmentCloud",
            "https://shared.blob.core.usgovcloudapi.net/",
        ),
    ] {
        let key = setup.account.key();
        let lines = format!("{KEY}={key}\nAZURE_CLOUD_NAME={cloud}\n");
        let file = setup.file(&format!("cloud-{cloud}"), &lines);
        let more = [("credentialsFile", &*file), ("storageAccountURI", "")];
        let opened = setup.open(&more).await;
        assert_eq!(opened.said("endpoint").await, endpoint, "{cloud}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn key_is_listed_once_unless_entra_is_asked_for() {
    let Some(azure) = Azure::start().await else {
        return;
    };
    let listed = azure.open(&[]).await.unwrap();
    works(&listed, &azure.setup, "the account's key, listed by").await;
    assert_eq!(azure.lists_of_keys(), 1);

    azure.lab.clear_requests();
    let entra = azure.open(&[("useAAD", "true")]).await.unwrap();
    works(&entra, &azure.setup, "Entra: ").await;
    assert_eq!(azure.lists_of_keys(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoint_is_told_by_the_resource_manager() {
    let Some(azure) = Azure::start().await else {
        return;
    };
    for more in [&[][..], &[("useAAD", "true")]] {
        azure.setup.proxy.clear_requests();
        let more = [more, &[("storageAccountURI", "")]].concat();
        let opened = azure.open(&more).await.unwrap();
        works(&opened, &azure.setup, "").await;
        assert!(!azure.setup.proxy.requests().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_key_is_to_be_had_entra_is_used() {
    let Some(azure) = Azure::start().await else {
        return;
    };
    let setup = &azure.setup;
    azure.deny("Microsoft.Storage/storageAccounts/listKeys/action");
    let opened = azure.open(&[]).await.unwrap();
    works(&opened, setup, "may not be listed by this identity").await;
    azure.lab.add_identity(azure.lab.identity().clone());

    azure.lab.lock(&azure.id).unwrap();
    let opened = azure.open(&[]).await.unwrap();
    works(&opened, setup, "a lock on it or its group").await;
    azure.lab.unlock(&azure.id).unwrap();

    let allow = |allowed| azure.lab.allow_shared_key_access(&azure.id, allowed);
    allow(Some(false)).unwrap();
    let unlocated = [("storageAccountURI", "")];
    let opened = azure.open(&unlocated).await.unwrap();
    works(&opened, setup, "does not allow its keys").await;
    allow(None).unwrap();

    let file: String = azure
        .lab
        .credentials_file()
        .lines()
        .filter(|line| !line.contains("RESOURCE_GROUP"))
        .map(|line| format!("{line}\n"))
        .collect();
    let file = setup.file("groupless", &file);
    let groupless = [("credentialsFile", &*file), ("resourceGroup", "")];
    let opened = azure.open(&groupless).await.unwrap();
    works(&opened, setup, "AZURE_RESOURCE_GROUP").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn federated_token_does_as_well_as_a_secret() {
    let Some(azure) = Azure::start().await else {
        return;
    };
    let credential = Credential::Federated {
        issuer: "https://oidc.example/".into(),
        subject: "system:serviceaccount:velero:velero".into(),
        token: Some("the-pods-token".into()),
    };
    let identity = Identity::new(&azure.lab.endpoints().tenant, vec![credential]);
    azure.lab.add_identity(identity.clone());
    let token = azure.setup.file("token", "the-pods-token");
    let lines = format!(
        "{}AZURE_TENANT_ID={}\nAZURE_CLIENT_ID={}\nAZURE_FEDERATED_TOKEN_FILE={token}\n",
        azure.place(),
        identity.tenant,
        identity.client_id
    );
    let file = azure.setup.file("federated", &lines);
    let more = [("credentialsFile", &*file), ("useAAD", "true")];
    let opened = azure.open(&more).await.unwrap();
    works(&opened, &azure.setup, &identity.client_id).await;
    let listed = azure.open(&more[..1]).await.unwrap();
    works(&listed, &azure.setup, "the account's key, listed by").await;
}

/// Velero keeps one process for all locations of a plugin, and calls Init anew for each.
#[tokio::test(flavor = "multi_thread")]
async fn locations_of_one_process_do_not_get_into_each_others_way() {
    let Some(azure) = Azure::start().await else {
        return;
    };
    let other = Account::new("other").unwrap();
    let (accounts, authority) = ([other], Authority::new().unwrap());
    let azurite = Azurite::start(&authority, &accounts, Logins::Keys, Data::Memory(64)).unwrap();
    let second = Setup::before(&azurite).await;
    let first = &azure.setup;
    let container = &second.container;
    first.direct.create_container(container).await.unwrap();

    let opened = azure.open(&[("useAAD", "true")]).await.unwrap();
    let store = &opened.store;
    let content = bytes(6 * MIB);
    let stall = Fault::new(Action::Stall).query("comp=block");
    first.proxy.arm(stall.always());
    let begun = store.put(container, "first", &content[..]);
    let meanwhile = async {
        until(|| (!first.about(&Method::PUT, "/first").is_empty()).then_some(()))
            .await
            .unwrap();
        init(store, &second.config(&[])).await.unwrap();
        store.put(container, "second", &content[..]).await.unwrap();
        assert_eq!(store.objects(container, "").await.unwrap(), ["second"]);
        first.proxy.clear_faults();
    };
    let (put, ()) = tokio::join!(begun, meanwhile);
    put.unwrap();
    for (setup, key) in [(first, "first"), (&second, "second")] {
        assert_eq!(setup.direct.list(container, "").await.unwrap(), [key]);
        let blob = setup.direct.get(container, key).await.unwrap();
        assert!(blob.unwrap() == content, "{key}");
    }
    let said = opened.said("credential").await;
    assert!(said.contains(KEY), "{said}");
    init(store, &azure.config(&[("useAAD", "true")]))
        .await
        .unwrap();
    assert_eq!(store.objects(container, "").await.unwrap(), ["first"]);
}
