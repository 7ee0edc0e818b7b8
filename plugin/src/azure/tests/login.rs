use std::{path::Path, time::Duration};

use stillpoint_lab::{Action, Lab, settings};

use super::{Bench, bench, location, start};
use crate::{
    azure::{Client, ConnectError, Settings, connect, connect_as},
    model::{DiskId, ResourceGroup},
    ports::{Azure, AzureError},
};

pub(super) fn with_file(lab: &Lab, directory: &Path, lines: &str) -> Settings {
    let path = directory.join(format!("{}.env", uuid::Uuid::new_v4()));
    let common = lab.credentials_file();
    let common: String = common
        .lines()
        .filter(|line| line.contains("SUBSCRIPTION") || line.contains("RESOURCE_GROUP"))
        .map(|line| format!("{line}\n"))
        .collect();
    std::fs::write(&path, format!("{common}{lines}")).unwrap();
    Settings {
        credentials_file: Some(path),
        api_timeout: Duration::from_secs(3),
        ..location(lab)
    }
}

pub(super) async fn read(client: &Client) -> Result<(), AzureError> {
    let group: ResourceGroup = client.environment().cluster.clone().unwrap();
    match client.disk(&DiskId::new(group, "nothing")).await {
        Err(AzureError::NotFound { .. }) | Ok(_) => Ok(()),
        Err(error) => Err(error),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_name_what_is_wrong_and_where() {
    let Some(lab) = start(settings::Settings::fast()).await else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let (tenant, client) = (&lab.endpoints().tenant, &lab.identity().client_id);
    let nobody = "22222222-2222-2222-2222-222222222222";
    for (lines, expected) in [
        (
            format!(
                "AZURE_TENANT_ID={tenant}\nAZURE_CLIENT_ID={client}\nAZURE_CLIENT_SECRET=hunter2\n"
            ),
            vec![
                "AADSTS7000215",
                "AZURE_CLIENT_SECRET is wrong",
                client.as_str(),
                ".env",
            ],
        ),
        (
            format!(
                "AZURE_TENANT_ID={nobody}\nAZURE_CLIENT_ID={client}\nAZURE_CLIENT_SECRET=hunter2\n"
            ),
            vec!["AADSTS90002", "AZURE_TENANT_ID is not known", nobody],
        ),
        (
            format!(
                "AZURE_TENANT_ID={tenant}\nAZURE_CLIENT_ID={nobody}\nAZURE_CLIENT_SECRET=hunter2\n"
            ),
            vec!["AADSTS700016", "AZURE_CLIENT_ID is not known", nobody],
        ),
    ] {
        let client = connect(&with_file(&lab, directory.path(), &lines)).unwrap();
        let begun = std::time::Instant::now();
        let error = read(&client).await.unwrap_err();
        assert!(matches!(error, AzureError::Credentials(_)), "{error:?}");
        assert!(
            begun.elapsed() < Duration::from_secs(2),
            "a refusal is final"
        );
        let error = error.to_string();
        for part in expected {
            assert!(error.contains(part), "{part} in {error}");
        }
        assert!(!error.contains("hunter2"), "{error}");
    }
    let mut elsewhere = location(&lab);
    elsewhere.active_directory_authority = Some("https://127.0.0.1:9".parse().unwrap());
    elsewhere.api_timeout = Duration::from_secs(1);
    let error = read(&connect(&elsewhere).unwrap())
        .await
        .unwrap_err()
        .to_string();
    for part in ["https://127.0.0.1:9", "activeDirectoryAuthorityURI"] {
        assert!(error.contains(part), "{part} in {error}");
    }
    let mut nowhere = location(&lab);
    nowhere.resource_manager_endpoint = Some("https://127.0.0.1:9".parse().unwrap());
    nowhere.api_timeout = Duration::from_secs(1);
    let error = read(&connect(&nowhere).unwrap())
        .await
        .unwrap_err()
        .to_string();
    for part in ["127.0.0.1", "`resourceManagerEndpoint`"] {
        assert!(error.contains(part), "{part} in {error}");
    }
    let mut untrusting = location(&lab);
    untrusting.ca_cert = None;
    untrusting.api_timeout = Duration::from_secs(1);
    let error = read(&connect(&untrusting).unwrap())
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("`caCert`"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_locations_share_one_login_and_a_revoked_token_is_replaced() {
    let Some(bench) = bench(settings::Settings::fast()).await else {
        return;
    };
    let mut other = location(&bench.lab);
    other.resource_group = Some("another".to_owned());
    other.api_timeout = Duration::from_secs(5);
    let other = connect(&other).unwrap();
    assert!(bench.client.shares_with(&other));
    let disk = bench.disk("d");
    let reads = (0..8).map(|_| bench.client.disk(&disk));
    for read in futures::future::join_all(reads).await {
        read.unwrap();
    }
    read(&other).await.unwrap();
    assert_eq!(bench.requests("POST", "/oauth2/").len(), 1);
    bench.lab.revoke_tokens();
    bench.client.disk(&disk).await.unwrap();
    assert_eq!(bench.requests("POST", "/oauth2/").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_is_tried_again_and_a_short_lived_token_renewed() {
    let lab = settings::Settings {
        token_lifetime: Duration::from_secs(5),
        ..settings::Settings::fast()
    };
    let Some(Bench { lab, client }) = bench(lab).await else {
        return;
    };
    for action in [super::status(503), Action::CloseBefore, Action::Truncate] {
        lab.inject(stillpoint_lab::Fault {
            method: Some("POST".to_owned()),
            path: "**/token".to_owned(),
            skip: 0,
            times: 1,
            action,
        });
    }
    read(&client).await.unwrap();
    for _ in 0..6 {
        tokio::time::sleep(Duration::from_millis(1000)).await;
        read(&client).await.unwrap();
    }
}

#[test]
fn what_can_be_told_without_azure_is_told_at_once() {
    let base = "AZURE_SUBSCRIPTION_ID=s\nAZURE_RESOURCE_GROUP=g\n";
    for (lines, expected) in [
        ("", "AZURE_SUBSCRIPTION_ID is not set in "),
        (
            "AZURE_SUBSCRIPTION_ID=s\n",
            "AZURE_RESOURCE_GROUP is not set in ",
        ),
        (
            "{base}AZURE_CLIENT_SECRET=x\n",
            "AZURE_TENANT_ID is not set",
        ),
        (
            "{base}AZURE_CLIENT_SECRET=x\nAZURE_TENANT_ID=t\n",
            "AZURE_CLIENT_ID is not set",
        ),
        (
            "{base}AZURE_CLIENT_SECRET=x\nAZURE_TENANT_ID=a/b\nAZURE_CLIENT_ID=c\n",
            "AZURE_TENANT_ID=`a/b`",
        ),
        (
            "{base}AZURE_USERNAME=me\nAZURE_PASSWORD=x\n",
            "AZURE_USERNAME",
        ),
        ("{base}AZURE_CLOUD_NAME=Moon\n", "`Moon`"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cloud");
        std::fs::write(&path, lines.replace("{base}", base)).unwrap();
        let settings = Settings {
            credentials_file: Some(path),
            ..Settings::default()
        };
        let error = connect_as(&settings, &|_| None).unwrap_err().to_string();
        assert!(error.contains(expected), "{expected} in {error}");
        assert!(error.contains("cloud"), "where: {error}");
    }
    let settings = Settings {
        ca_cert: Some("hello".to_owned()),
        ..Settings::default()
    };
    let process = |name: &str| match name {
        "AZURE_SUBSCRIPTION_ID" | "AZURE_RESOURCE_GROUP" => Some("x".to_owned()),
        _ => None,
    };
    let error = connect_as(&settings, &process).unwrap_err();
    assert!(matches!(error, ConnectError::CaCert(_)), "{error}");
}
