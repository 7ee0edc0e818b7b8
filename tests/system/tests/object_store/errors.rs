//! What is told when something is wrong: what was asked for, what the matter is, what to do.

use stillpoint_lab::host::ObjectStore;
use stillpoint_system::blob::{Account, Authority, proxy::Refusal};
use tonic::{Code, Status};

use crate::{
    azure::Azure,
    fixture::{KEY, Opened, Setup, init, told, with},
};

const CONTENT: &[u8] = b"content";

/// Each call fails by one line that names the account and the container, the object if it is about one, and this.
async fn all_fail(store: &ObjectStore, setup: &Setup, container: &str, parts: &[&str]) {
    let account = &*setup.account.name;
    let of_container = [&[container, account], parts].concat();
    let of_object = [&["a/k in container"], &*of_container].concat();
    told(
        &store.objects(container, "").await.unwrap_err(),
        &of_container,
    );
    let listed = store.common_prefixes(container, "", "/").await;
    told(&listed.unwrap_err(), &of_container);
    let put = store.put(container, "a/k", CONTENT).await;
    told(&put.unwrap_err(), &of_object);
    let read = store.read(container, "a/k").await;
    told(&read.unwrap_err(), &of_object);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_storage_refuses_is_told_with_what_to_do() {
    let setup = Setup::new().await;
    let opened = setup.open(&[]).await;
    let past = "Sun, 22 Nov 2015 12:00:00 GMT";
    for (refusal, hint) in [
        (
            Refusal::new(403, "AuthorizationFailure"),
            "the account's firewall",
        ),
        (
            Refusal::new(403, "AuthorizationPermissionMismatch"),
            "\"Storage Blob Data Contributor\"",
        ),
        (
            Refusal::new(403, "AuthenticationFailed"),
            "`storageAccountKeyEnvVar`",
        ),
        (
            Refusal::new(403, "AuthenticationFailed").with("date", past),
            "set the node's clock right",
        ),
        (
            Refusal::new(403, "AccountIsDisabled"),
            "check the subscription's state",
        ),
        (
            Refusal::new(409, "ContainerBeingDeleted"),
            "create it again",
        ),
        (
            Refusal::new(404, "ContainerNotFound"),
            "soft-delete retention",
        ),
        (Refusal::new(404, "ResourceNotFound"), "`storageAccount`"),
        (
            Refusal::new(400, "InvalidAuthenticationInfo"),
            "AZURE_TENANT_ID",
        ),
        (
            Refusal::new(403, "KeyBasedAuthenticationNotPermitted"),
            "set `useAAD` to true",
        ),
        (Refusal::new(407, "Proxy"), "HTTPS_PROXY"),
    ] {
        let code = refusal.code.clone();
        setup.refuse(refusal);
        let parts = [&*code, " — ", hint];
        all_fail(&opened.store, &setup, &setup.container, &parts).await;
        setup.proxy.clear_faults();
    }
    for (refusal, hint) in [
        (
            Refusal::new(409, "BlobImmutableDueToPolicy"),
            "immutability policy",
        ),
        (Refusal::new(412, "LeaseIdMissing"), "break the lease"),
        (Refusal::new(409, "SnapshotsPresent"), "delete them first"),
    ] {
        let code = refusal.code.clone();
        setup.refuse(refusal);
        let error = opened.store.delete(&setup.container, "a/k").await;
        told(
            &error.unwrap_err(),
            &["a/k in container", &setup.container, &code, hint],
        );
        setup.proxy.clear_faults();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_container_and_wrong_names_are_told() {
    let setup = Setup::new().await;
    let opened = setup.open(&[]).await;
    let parts = ["is not there", "ContainerNotFound", "`bucket`"];
    all_fail(&opened.store, &setup, "no-such", &parts).await;
    setup
        .direct
        .delete_container(&setup.container)
        .await
        .unwrap();
    all_fail(&opened.store, &setup, &setup.container, &parts).await;

    let put = opened.store.put(&setup.container, "..", CONTENT).await;
    let error = put.unwrap_err();
    told(&error, &["\"..\"", "expected"]);
    assert_eq!(error.code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn account_that_no_resolver_knows_is_told() {
    let setup = Setup::new().await;
    let uri = [("storageAccountURI", "https://shared.blob.core.invalid")];
    let opened = setup.open(&uri).await;
    let error = opened.store.objects(&setup.container, "").await;
    let parts = [
        &*setup.container,
        "storage account shared",
        "shared.blob.core.invalid",
        "no such host",
        "`storageAccountURI`",
    ];
    told(&error.unwrap_err(), &parts);
}

#[tokio::test(flavor = "multi_thread")]
async fn server_of_an_unknown_authority_is_told_at_once() {
    let setup = Setup::new().await;
    let other = Authority::new().unwrap();
    for ca in [other.pem(), ""] {
        let opened = setup.open(&[("caCert", ca)]).await;
        let parts = ["127.0.0.1", "UnknownIssuer", "`caCert`"];
        all_fail(&opened.store, &setup, &setup.container, &parts).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn key_that_is_wrong_or_none_is_told_with_its_place() {
    let setup = Setup::new().await;
    let opened = setup.open(&[]).await;
    let stranger = Account::new("shared").unwrap();
    let file = setup.file("wrong", &format!("{KEY}={}\n", stranger.key()));
    let wrong = [("credentialsFile", &*file)];
    init(&opened.store, &setup.config(&wrong)).await.unwrap();
    let error = opened.store.objects(&setup.container, "").await;
    // Azurite that takes tokens too answers 400.
    told(&error.unwrap_err(), &[&setup.container, "400", "key"]);

    // A process that has opened a location keeps it: each has a file of its own.
    let refused = async |name: &str, content: &str, parts: &[&str]| {
        let file = setup.file(name, content);
        let config = setup.config(&[("credentialsFile", &*file)]);
        let error = init(&opened.store, &config).await.unwrap_err();
        told(&error, &[parts, &[KEY, &file]].concat());
        assert!(!error.message().contains("hunter2"), "{error}");
    };
    refused("none", "", &["is set neither there nor"]).await;
    let no_key = format!("{KEY}=hunter2!\n");
    refused("no-key", &no_key, &["expected base64"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn token_that_is_refused_is_told() {
    let Some(azure) = Azure::start().await else {
        return;
    };
    let setup = &azure.setup;
    let opened = azure.open(&[("useAAD", "true")]).await.unwrap();
    for (status, code, hint) in [
        (401, "InvalidAuthenticationInfo", "AZURE_TENANT_ID"),
        (
            403,
            "AuthorizationPermissionMismatch",
            "\"Storage Blob Data Contributor\"",
        ),
    ] {
        setup.proxy.clear_requests();
        setup.refuse(Refusal::new(status, code));
        let list = opened.store.objects(&setup.container, "").await;
        let parts = [&*setup.container, &setup.account.name, code, hint];
        told(&list.unwrap_err(), &parts);
        let asked = setup.proxy.requests().len();
        assert!(asked <= 2, "{asked} requests");
        setup.proxy.clear_faults();
    }
    // One that was refused is not used again.
    let logins = || {
        let requests = azure.lab.requests();
        let logins = requests.iter().filter(|it| it.path.contains("oauth2"));
        logins.count()
    };
    assert!(logins() >= 2, "{}", logins());
    opened.store.objects(&setup.container, "").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn login_and_account_that_are_wrong_are_told() {
    let Some(azure) = Azure::start().await else {
        return;
    };
    let setup = &azure.setup;
    let credentials = azure.lab.credentials_file();
    let wrong = credentials.replace("AZURE_CLIENT_SECRET=", "AZURE_CLIENT_SECRET=hunter2");
    let file = setup.file("wrong", &wrong);
    let refused = async |more: &[(&str, &str)], parts: &[&str]| {
        let error = azure.open(more).await.map(drop).unwrap_err();
        told(&error, parts);
        assert!(!error.message().contains("hunter2"), "{error}");
    };
    let login = ["AADSTS7000215", "AZURE_CLIENT_SECRET", &*file];
    refused(&[("credentialsFile", &file)], &login).await;
    refused(&[("credentialsFile", &file), ("useAAD", "true")], &login).await;
    let unknown = [("storageAccount", "nobody"), ("storageAccountURI", "")];
    let parts = ["nobody", "`storageAccount`", "`resourceGroup`"];
    refused(&unknown, &parts).await;
    let nowhere = [("resourceGroup", "elsewhere")];
    refused(&nowhere, &["elsewhere", "`resourceGroup`"]).await;
    let plain = [
        ("storageAccountURI", "http://127.0.0.1:9/shared"),
        ("useAAD", "true"),
    ];
    refused(
        &plain,
        &["`storageAccountURI`", "http://127.0.0.1:9/shared"],
    )
    .await;
}

/// The wrong config of one Init is not what the next call works on.
#[tokio::test(flavor = "multi_thread")]
async fn after_an_init_that_failed_no_call_goes_to_the_earlier_location() {
    let setup = Setup::new().await;
    let opened: Opened = setup.open(&[]).await;
    let wrong = with(setup.config(&[]), &[("storageAccountUrl", "https://x")]);
    let failed: Status = init(&opened.store, &wrong).await.unwrap_err();
    told(&failed, &["storageAccountUrl", "storageAccountURI"]);
    let put = opened.store.put(&setup.container, "k", CONTENT).await;
    told(&put.unwrap_err(), &["storageAccountUrl"]);
    assert_eq!(
        setup.direct.list(&setup.container, "").await.unwrap(),
        [""; 0]
    );
}
