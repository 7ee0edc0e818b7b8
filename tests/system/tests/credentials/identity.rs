//! Workload identity and managed identity.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use stillpoint_lab::{Credential, Identity, Lab, Settings};
use stillpoint_system::{cloud::Cloud, programs};

use super::{log_in, written};

#[tokio::test(flavor = "multi_thread")]
async fn workload_identity_reads_its_token_file_anew_and_the_webhooks_variables() {
    let Some(cloud) = Cloud::start().await.unwrap() else {
        return;
    };
    cloud.lab.create_disk(&cloud.premium("d")).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let mut identity = Identity::new(&cloud.lab.endpoints().tenant, Vec::new());
    let mut rotate = |token: &str| {
        identity.credentials = vec![Credential::Federated {
            issuer: "https://oidc.example/".into(),
            subject: "system:serviceaccount:velero:velero".into(),
            token: Some(token.to_owned()),
        }];
        cloud.lab.add_identity(identity.clone());
        cloud.lab.revoke_tokens();
        (identity.clone(), written(directory.path(), "token", token))
    };
    let (identity, token) = rotate("first-token");
    let lines = format!(
        "AZURE_TENANT_ID={}\nAZURE_CLIENT_ID={}\nAZURE_FEDERATED_TOKEN_FILE={}\n",
        identity.tenant,
        identity.client_id,
        token.display()
    );
    let plugin = cloud.plugin().await.unwrap();
    log_in(&cloud, &plugin, directory.path(), &lines)
        .await
        .unwrap();
    rotate("second-token");
    log_in(&cloud, &plugin, directory.path(), &lines)
        .await
        .unwrap();

    // The webhook sets the pod's variables; the file says nothing of them.
    let injected = Cloud::host()
        .unwrap()
        .variable("AZURE_TENANT_ID", &identity.tenant)
        .variable("AZURE_CLIENT_ID", &identity.client_id)
        .variable("AZURE_FEDERATED_TOKEN_FILE", &token);
    let injected = injected.start().await.unwrap();
    log_in(&cloud, &injected, directory.path(), "")
        .await
        .unwrap();

    written(directory.path(), "token", "stolen-token");
    cloud.lab.revoke_tokens();
    let error = log_in(&cloud, &plugin, directory.path(), &lines)
        .await
        .unwrap_err();
    let path = token.display().to_string();
    for part in [&*identity.client_id, &path, "AADSTS"] {
        assert!(error.message().contains(part), "{part} in {error}");
    }
    assert!(!error.message().contains("stolen"), "{error}");
    std::fs::remove_file(&token).unwrap();
    let fresh = cloud.plugin().await.unwrap();
    let error = log_in(&cloud, &fresh, directory.path(), &lines)
        .await
        .unwrap_err();
    for part in [&*path, "AZURE_FEDERATED_TOKEN_FILE"] {
        assert!(error.message().contains(part), "{part} in {error}");
    }
}

/// Set where the metadata service's address is this test's own.
const INSIDE: &str = "STILLPOINT_TEST_INSIDE";

fn ip(arguments: &str) {
    let ended = Command::new("ip").args(arguments.split(' ')).status();
    assert!(ended.unwrap().success(), "ip {arguments}");
}

/// In a network of its own, where 169.254.169.254 is the lab's metadata service: the test runs itself again there.
#[test]
fn managed_identities_are_asked_of_the_nodes_metadata_service() {
    if let Some(why) = stillpoint_loopfs::missing() {
        eprintln!("SKIPPED: {why}");
        return;
    }
    if std::env::var_os(INSIDE).is_some() {
        tokio::runtime::Runtime::new().unwrap().block_on(inside());
        return;
    }
    programs::program(programs::PLUGIN).unwrap();
    let again = Command::new("unshare")
        .args(["--net", "--"])
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "identity::managed_identities_are_asked_of_the_nodes_metadata_service",
        ])
        .arg("--nocapture")
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
    let cloud = Cloud {
        lab: Lab::start(settings).await.unwrap(),
    };
    cloud.lab.create_disk(&cloud.premium("d")).unwrap();
    let managed = |resource_id: Option<&str>| {
        let resource_id = resource_id.map(str::to_owned);
        let identity = Identity::new(
            &cloud.lab.endpoints().tenant,
            vec![Credential::Managed { resource_id }],
        );
        cloud.lab.add_identity(identity.clone());
        identity
    };
    let resource = "/subscriptions/s/resourcegroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/velero";
    let (system, user) = (managed(None), managed(Some(resource)));
    let directory = tempfile::tempdir().unwrap();
    for (lines, who) in [
        (String::new(), &system),
        (format!("AZURE_CLIENT_ID={}\n", user.client_id), &user),
        (format!("AZURE_CLIENT_ID={resource}\n"), &user),
    ] {
        let plugin = cloud.plugin().await.unwrap();
        log_in(&cloud, &plugin, directory.path(), &lines)
            .await
            .unwrap();
        let read = cloud.lab.requests().pop().unwrap();
        assert_eq!(read.principal.as_ref(), Some(&who.client_id), "{lines}");
    }
    let nobody = "22222222-2222-2222-2222-222222222222";
    let lines = format!("AZURE_CLIENT_ID={nobody}\n");
    let plugin = cloud.plugin().await.unwrap();
    let error = log_in(&cloud, &plugin, directory.path(), &lines)
        .await
        .unwrap_err();
    for part in [
        nobody,
        "not been assigned",
        "AZURE_CLIENT_ID",
        "credentialsFile",
    ] {
        assert!(error.message().contains(part), "{part} in {error}");
    }
    ip("addr del 169.254.169.254/32 dev lo");
    let plugin = cloud.plugin().await.unwrap();
    let begun = Instant::now();
    let error = log_in(&cloud, &plugin, directory.path(), "")
        .await
        .unwrap_err();
    for part in [
        "AZURE_CLIENT_SECRET",
        "AZURE_FEDERATED_TOKEN_FILE",
        "this node offers none",
    ] {
        assert!(error.message().contains(part), "{part} in {error}");
    }
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(8), "apiTimeout is 1s: {took:?}");
    cloud.lab.stop().await;
}
