//! A BackupStorageLocation.

use proptest::prelude::*;
use url::Url;

use super::{SUBSCRIPTION, config};
use crate::config::{BackupSettings, ConfigError};

const PEM: &str = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
/// Of no account: as long as a real one, of zeros.
const KEY: &str =
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==";

fn parse(pairs: &[(&str, &str)]) -> Result<BackupSettings, ConfigError> {
    BackupSettings::parse(&config(pairs))
}

/// With an account beside it.
fn with(key: &str, value: &str) -> Result<BackupSettings, ConfigError> {
    let mut config = config(&[("storageAccount", "backups")]);
    config.insert(key.to_owned(), value.to_owned());
    BackupSettings::parse(&config)
}

fn url(text: &str) -> Option<Url> {
    Some(text.parse().unwrap())
}

#[test]
fn an_account_is_enough() {
    let expected = BackupSettings {
        account: "backups".to_owned(),
        account_uri: None,
        key_variable: None,
        resource_group: None,
        subscription: None,
        block_size: None,
        use_entra: false,
        authority: None,
        resource_manager: None,
        credentials_file: None,
        ca_cert: None,
    };
    assert_eq!(with("bucket", "velero"), Ok(expected.clone()));
    for key in [
        "storageAccountURI",
        "storageAccountKeyEnvVar",
        "resourceGroup",
        "subscriptionId",
        "blockSizeInBytes",
        "useAAD",
        "activeDirectoryAuthorityURI",
        "resourceManagerEndpoint",
        "credentialsFile",
        "caCert",
        "bucket",
        "prefix",
    ] {
        assert_eq!(with(key, ""), Ok(expected.clone()), "an empty {key}");
    }
}

#[test]
fn every_key_of_the_stock_plugin_and_of_velero_is_read() {
    let settings = parse(&[
        ("storageAccount", "backups"),
        ("storageAccountURI", "https://backups.blob.core.windows.net"),
        ("storageAccountKeyEnvVar", "MY_KEY"),
        ("resourceGroup", "backup-group"),
        ("subscriptionId", SUBSCRIPTION),
        ("blockSizeInBytes", "1048576"),
        ("useAAD", "true"),
        (
            "activeDirectoryAuthorityURI",
            "https://login.microsoftonline.us/",
        ),
        (
            "resourceManagerEndpoint",
            "https://management.usgovcloudapi.net",
        ),
        ("credentialsFile", "/tmp/credentials/velero/my credentials"),
        ("caCert", PEM),
        ("bucket", "velero"),
        ("prefix", "cluster/one"),
    ]);
    let expected = BackupSettings {
        account: "backups".to_owned(),
        account_uri: url("https://backups.blob.core.windows.net"),
        key_variable: Some("MY_KEY".to_owned()),
        resource_group: Some("backup-group".to_owned()),
        subscription: Some(SUBSCRIPTION.to_owned()),
        block_size: Some(1 << 20),
        use_entra: true,
        authority: url("https://login.microsoftonline.us/"),
        resource_manager: url("https://management.usgovcloudapi.net"),
        credentials_file: Some("/tmp/credentials/velero/my credentials".into()),
        ca_cert: Some(PEM.to_owned()),
    };
    assert_eq!(settings, Ok(expected));
}

#[test]
fn what_a_location_of_the_stock_plugin_may_hold_is_taken() {
    for (key, value) in [
        ("storageAccount", "a23"),
        ("storageAccount", "devstoreaccount1"),
        ("storageAccount", "abcdefghijklmnopqrstuvwx"),
        (
            "storageAccountURI",
            "https://backups.blob.core.windows.net/",
        ),
        (
            "storageAccountURI",
            "https://backups-secondary.blob.core.windows.net",
        ),
        (
            "storageAccountURI",
            "https://backups.z01.blob.storage.azure.net",
        ),
        (
            "storageAccountURI",
            "https://backups.privatelink.blob.core.windows.net:8443",
        ),
        (
            "storageAccountURI",
            "http://azurite.velero.svc:10000/devstoreaccount1",
        ),
        ("storageAccountURI", "http://[::1]:10000/devstoreaccount1/"),
        ("storageAccountKeyEnvVar", "AZURE_STORAGE_KEY"),
        ("storageAccountKeyEnvVar", "my.key-1"),
        ("resourceGroup", "Sicherung_(Büro).1"),
        ("subscriptionId", "AAAAAAAA-2222-3333-4444-555555555555"),
        ("blockSizeInBytes", "1"),
        ("blockSizeInBytes", "104857600"),
        ("useAAD", "1"),
        ("useAAD", "t"),
        ("useAAD", "F"),
        ("useAAD", "True"),
        ("useAAD", "FALSE"),
        (
            "activeDirectoryAuthorityURI",
            "https://login.microsoftonline.us",
        ),
        (
            "activeDirectoryAuthorityURI",
            "https://login.chinacloudapi.cn/",
        ),
        ("prefix", "a b/ü#%"),
    ] {
        assert!(with(key, value).is_ok(), "{key}: {value}");
    }
}

#[test]
fn an_account_is_the_same_in_capitals() {
    assert_eq!(
        with("storageAccount", "Backups").unwrap().account,
        "backups"
    );
}

#[test]
fn a_wrong_value_is_named_with_what_is_allowed() {
    for (key, value, expected) in [
        ("storageAccount", "ab", "3 to 24"),
        ("storageAccount", "my-account", "letters and digits"),
        ("storageAccount", "abcdefghijklmnopqrstuvwxy", "3 to 24"),
        (
            "storageAccount",
            "backups.blob.core.windows.net",
            "storageAccountURI",
        ),
        (
            "storageAccountURI",
            "backups.blob.core.windows.net",
            "https://account.blob",
        ),
        ("storageAccountURI", "ftp://backups", "https://account.blob"),
        ("storageAccountURI", "https://", "https://account.blob"),
        ("resourceGroup", "/subscriptions/s", "resource group"),
        ("subscriptionId", "production", "subscription's ID"),
        ("blockSizeInBytes", "0", "from 1 to 104857600"),
        ("blockSizeInBytes", "-1", "from 1 to 104857600"),
        ("blockSizeInBytes", "104857601", "from 1 to 104857600"),
        ("blockSizeInBytes", "1Mi", "from 1 to 104857600"),
        ("blockSizeInBytes", "1048576.0", "from 1 to 104857600"),
        (
            "blockSizeInBytes",
            "99999999999999999999",
            "from 1 to 104857600",
        ),
        ("useAAD", "yes", "true or false"),
        ("useAAD", "tRUE", "true or false"),
        (
            "activeDirectoryAuthorityURI",
            "login.microsoftonline.us",
            "https",
        ),
        (
            "activeDirectoryAuthorityURI",
            "http://login.example.com",
            "https",
        ),
        (
            "resourceManagerEndpoint",
            "http://management.example.com",
            "https",
        ),
        ("caCert", "/etc/ca.pem", "PEM"),
    ] {
        let error = with(key, value).unwrap_err().to_string();
        for part in ["BackupStorageLocation", key, value, expected] {
            assert!(error.contains(part), "{part} is missing in: {error}");
        }
    }
}

#[test]
fn a_secret_in_the_wrong_place_is_not_repeated() {
    for (key, value, secret) in [
        ("storageAccountKeyEnvVar", KEY.to_owned(), "AAAA"),
        (
            "storageAccountKeyEnvVar",
            format!("AccountName=backups;AccountKey={KEY}"),
            "AAAA",
        ),
        (
            "storageAccountURI",
            "https://backups.blob.core.windows.net/?sv=2024-11-04&sig=hunter2".to_owned(),
            "hunter2",
        ),
        (
            "storageAccountURI",
            "https://backups:hunter2@blob.example.com".to_owned(),
            "hunter2",
        ),
        ("storageAccountURI", KEY.to_owned(), "AAAA"),
        (
            "storageAccount",
            format!("backups;AccountKey={KEY}"),
            "AAAA",
        ),
        ("useAAD", KEY.to_owned(), "AAAA"),
    ] {
        let error = with(key, &value).unwrap_err();
        assert!(error.to_string().contains(key), "{error}");
        assert!(!error.to_string().contains(secret), "{error}");
        assert!(!format!("{error:?}").contains(secret), "{error:?}");
    }
}

#[test]
fn a_location_without_an_account_is_refused() {
    let error = parse(&[("bucket", "velero")]).unwrap_err().to_string();
    assert!(error.contains("`storageAccount` is not set"), "{error}");
}

#[test]
fn a_key_that_nobody_reads_is_refused() {
    for (key, hint) in [
        ("storageaccount", "(`storageAccount`?)"),
        ("useAad", "(`useAAD`?)"),
        ("insecureSkipTLSVerify", "the keys are storageAccount"),
        ("checksumAlgorithm", "the keys are storageAccount"),
        ("freeze", "the keys are storageAccount"),
    ] {
        let error = with(key, "true").unwrap_err().to_string();
        assert!(error.contains(&format!("`{key}`")), "{error}");
        assert!(error.contains(hint), "{error}");
    }
}

proptest! {
    #[test]
    fn block_sizes_round_trip(size in 1usize..=100 << 20) {
        prop_assert_eq!(with("blockSizeInBytes", &size.to_string()).unwrap().block_size, Some(size));
    }

    #[test]
    fn account_names_round_trip(name in "[a-z0-9]{3,24}") {
        prop_assert_eq!(with("storageAccount", &name).unwrap().account, name);
    }

    #[test]
    fn endpoints_round_trip(
        tls: bool,
        host in "[a-z][a-z0-9]{2,20}(\\.[a-z][a-z0-9]{1,8}){0,3}",
        port in 1024u16..,
        path in "(/[a-z0-9]{3,24}/?)?",
    ) {
        let scheme = if tls { "https" } else { "http" };
        let text = format!("{scheme}://{host}:{port}{path}");
        prop_assert_eq!(with("storageAccountURI", &text).unwrap().account_uri, url(&text));
    }
}
