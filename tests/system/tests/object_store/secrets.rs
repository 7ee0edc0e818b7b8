//! What never is in a log or an error, whatever the level.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use stillpoint_lab::{Credential, host::Host};
use stillpoint_system::{
    blob::proxy::{Action, Fault, Refusal},
    programs,
};
use tonic::Status;
use url::Url;

use crate::{
    azure::Azure,
    fetch::fetch,
    fixture::{Opened, bytes},
};

/// As much as it can be made to say.
fn talkative() -> Host {
    Host::new(programs::program(programs::PLUGIN).unwrap())
        .argument("--log-level=trace")
        .variable("RUST_LOG", "trace")
        .variable("AZURE_SDK_LOG", "all")
}

/// All kinds of work, and of failure; what was answered.
async fn work(opened: &Opened, azure: &Azure) -> (Vec<Result<(), Status>>, String) {
    let (store, setup) = (&opened.store, &azure.setup);
    let container = &setup.container;
    let content = bytes(700_000);
    let url = async || {
        let url = store.signed_url(container, "k", Duration::from_secs(600));
        url.await.unwrap()
    };
    let mut answers = Vec::new();
    for action in [
        Action::CloseAfter,
        Action::CutRequest { after: 1000 },
        Action::Refuse(Refusal::new(503, "ServerBusy")),
        Action::Replace(Refusal::new(500, "InternalError")),
    ] {
        setup.proxy.arm(Fault::new(action));
        answers.push(store.put(container, "k", &content[..]).await);
    }
    setup.proxy.arm(Fault::new(Action::CutAnswer { after: 10 }));
    answers.push(store.read(container, "k").await.map(drop));
    answers.push(store.objects(container, "").await.map(drop));
    let signed = url().await;
    assert_eq!(fetch(setup, &signed).await.0, 200);
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    for refusal in [
        Refusal::new(401, "InvalidAuthenticationInfo"),
        Refusal::new(403, "AuthenticationFailed"),
        Refusal::new(409, "ContainerBeingDeleted"),
    ] {
        setup.refuse(refusal);
        answers.push(store.put(container, "k", &content[..]).await);
        answers.push(store.read(container, "k").await.map(drop));
        answers.push(store.objects(container, "").await.map(drop));
        answers.push(store.delete(container, "k").await);
        let lifetime = Duration::from_secs(30 * 24 * 3600);
        let url = store.signed_url(container, "k", lifetime).await;
        answers.push(url.map(drop));
        setup.proxy.clear_faults();
    }
    answers.push(store.read("no-such", "k").await.map(drop));
    (answers, signed)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_told_at_any_level() {
    let Some(azure) = Azure::start().await else {
        return;
    };
    let by_key = azure.setup.config(&[("blockSizeInBytes", "262144")]);
    let listed = azure.config(&[("blockSizeInBytes", "262144")]);
    let entra = azure.config(&[("useAAD", "true")]);
    let secret = azure
        .lab
        .identity()
        .credentials
        .iter()
        .find_map(|it| match it {
            Credential::Secret(secret) => Some(secret.clone()),
            _ => None,
        });
    for (name, config) in [("key", by_key), ("listed", listed), ("entra", entra)] {
        let opened = Opened::new(talkative(), &config).await.unwrap();
        let (answers, signed) = work(&opened, &azure).await;
        let logs = opened.plugin.logs().clone();
        opened.plugin.shut_down().await.unwrap();
        logs.ended().await;

        let signature = Url::parse(&signed).unwrap();
        let signature = signature.query_pairs().find(|(key, _)| key == "sig");
        let signature = signature.unwrap().1.into_owned();
        let encoded = signed.split("sig=").nth(1).unwrap();
        let key = azure.setup.account.key();
        let bytes = STANDARD.decode(key).unwrap();
        let list = format!("{:?}", &bytes[..8]).replace(']', "");
        let secrets = [
            ("the account's key", key),
            ("its bytes", &*list),
            ("its beginning", &key[..12]),
            ("the client's secret", secret.as_deref().unwrap()),
            ("a signature", &signature),
            ("a signature in a URL", encoded),
            ("a token", "eyJ"),
            ("a signed URL", "sig="),
            ("a delegation key", "<Value>"),
            ("a shared key's signature", "SharedKey shared:"),
        ];
        let entries = logs.entries();
        assert!(entries.len() > 20, "{name}: {} lines", entries.len());
        let said = entries.iter().map(|entry| format!("{entry:?}"));
        let failed = answers.iter().map(|answer| format!("{answer:?}"));
        for line in said.chain(failed) {
            for (what, secret) in secrets {
                assert!(!line.contains(secret), "{name}: {what} in {line}");
            }
        }
    }
}
