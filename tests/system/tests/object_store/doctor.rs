//! `doctor` on a BackupStorageLocation.

use std::process::Command;

use serde_json::{Value, json};
use stillpoint_system::{blob::proxy::Refusal, cloud::Config, programs};

use crate::fixture::{KEY, Setup, with};

/// Its exit code, and what it says is wrong, a line for each.
fn doctor(setup: &Setup, config: &Config) -> (Option<i32>, Vec<String>) {
    let file = setup.file("location.json", &json!(config).to_string());
    let output = Command::new(programs::program(programs::PLUGIN).unwrap())
        .args(["doctor", "--json", "--config", &file])
        .output()
        .unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    let seen: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"));
    let checks = seen["checks"].as_array().unwrap().iter();
    let wrong = checks.filter(|check| check["state"] == "wrong");
    let wrong = wrong.map(|check| {
        let text = |key: &str| check[key].as_str().unwrap_or_default().to_owned();
        format!("{}: {} {}", text("check"), text("message"), text("remedy"))
    });
    (output.status.code(), wrong.collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_storage_account_is_named() {
    let setup = Setup::new().await;
    let config = setup.config(&[("bucket", &setup.container), ("prefix", "cluster-1")]);
    setup
        .direct
        .put(&setup.container, "cluster-1/backups/b", "x")
        .await
        .unwrap();
    assert_eq!(doctor(&setup, &config), (Some(0), Vec::new()));
    let written = setup.proxy.requests().into_iter();
    let written = written.filter(|request| request.method == "PUT").count();
    assert_eq!(written, 0, "it writes nothing");

    for (more, check, says) in [
        (("bucket", "nowhere"), "container", "nowhere"),
        (
            ("storageAccountKeyEnvVar", "NO_KEY"),
            "storage account",
            "NO_KEY",
        ),
        (("blockSizeInBytes", "many"), "config", "`many`"),
    ] {
        let (code, wrong) = doctor(&setup, &with(config.clone(), &[more]));
        assert_eq!(code, Some(4), "{more:?}: {wrong:?}");
        let told = |line: &String| line.starts_with(check) && line.contains(says);
        assert!(wrong.iter().any(told), "{more:?}: {wrong:?}");
    }

    setup.file("cloud", &format!("{KEY}={}\n", setup.account.key()));
    setup.refuse(Refusal::new(403, "AuthorizationPermissionMismatch"));
    let (code, wrong) = doctor(&setup, &config);
    assert_eq!(code, Some(4), "{wrong:?}");
    assert!(
        wrong[0].contains("Storage Blob Data Contributor"),
        "{wrong:?}"
    );
}
