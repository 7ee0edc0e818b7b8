//! Managed identities, in a network of its own, where 169.254.169.254 is the lab's metadata service.

use std::{env, process::Command};

use stillpoint_lab::{Credential, Identity, Settings};
use stillpoint_system::{blob::Azurite, programs};

use crate::azure::Azure;

/// Set in that network.
const INSIDE: &str = "STILLPOINT_TEST_INSIDE";

fn ip(arguments: &str) {
    let ended = Command::new("ip").args(arguments.split(' ')).status();
    assert!(ended.unwrap().success(), "ip {arguments}");
}

/// The test runs itself again inside.
#[test]
fn managed_identity_reaches_the_account_with_its_key_and_without() {
    if let Some(why) = stillpoint_loopfs::missing() {
        eprintln!("SKIPPED: {why}");
        return;
    }
    if env::var_os(INSIDE).is_some() {
        tokio::runtime::Runtime::new().unwrap().block_on(inside());
        return;
    }
    programs::program(programs::PLUGIN).unwrap();
    let name = "managed::managed_identity_reaches_the_account_with_its_key_and_without";
    let again = Command::new("unshare")
        .args(["--net", "--"])
        .arg(env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&again.stdout);
    let why = String::from_utf8_lossy(&again.stderr);
    assert!(again.status.success(), "{said}\n{why}");
    assert!(said.contains("1 passed"), "{said}");
}

async fn inside() {
    ip("link set lo up");
    ip("addr add 169.254.169.254/32 dev lo");
    let settings = Settings {
        imds: ([169, 254, 169, 254], 80).into(),
        ..Settings::fast()
    };
    let azure = Azure::with(Azurite::shared().unwrap(), settings).await;
    let azure = azure.unwrap();
    let managed = Credential::Managed { resource_id: None };
    let identity = Identity::new(&azure.lab.endpoints().tenant, vec![managed]);
    azure.lab.add_identity(identity);
    let file = azure.setup.file("managed", &azure.place());
    for (entra, credential) in [
        ("true", "Entra: "),
        ("false", "the account's key, listed by"),
    ] {
        let more = [("credentialsFile", &*file), ("useAAD", entra)];
        let opened = azure.open(&more).await.unwrap();
        let said = opened.said("credential").await;
        assert!(said.contains(credential), "{said}");
        let container = &azure.setup.container;
        let put = opened.store.put(container, entra, &b"content"[..]);
        put.await.unwrap();
        let read = opened.store.read(container, entra).await.unwrap();
        assert_eq!(read, b"content");
    }
    azure.lab.stop().await;
}
