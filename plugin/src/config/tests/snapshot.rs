//! A VolumeSnapshotLocation.

use std::time::Duration;

use super::{SUBSCRIPTION, config};
use crate::{
    config::{AgentChoice, ConfigError, FreezeMode, Location, Settings},
    model::{DiskId, ResourceGroup, Sku},
};

fn parse(pairs: &[(&str, &str)]) -> Result<Settings, ConfigError> {
    Settings::parse(&config(pairs))
}

#[test]
fn nothing_set_gives_the_defaults() {
    let settings = parse(&[]).unwrap();
    assert_eq!(settings.api_timeout, Duration::from_secs(120));
    assert_eq!(settings.freeze, FreezeMode::Auto);
    assert_eq!(settings.freeze_timeout, Duration::from_secs(10));
    assert_eq!(settings.copy_timeout, Duration::from_secs(600));
    assert_eq!(settings.incremental, None);
    assert!(settings.convert_to_csi);
    assert_eq!(settings.agent, AgentChoice::Auto { account: None });
    assert_eq!(
        parse(&[("freeze", ""), ("apiTimeout", "")]).unwrap(),
        settings
    );
}

#[test]
fn every_key_is_read() {
    let settings = parse(&[
        ("resourceGroup", "backups"),
        ("subscriptionId", SUBSCRIPTION),
        ("apiTimeout", "5m"),
        ("incremental", "false"),
        ("tags", "team=storage, cost = a=b"),
        ("activeDirectoryAuthorityURI", "https://login.example.com/"),
        ("credentialsFile", "/credentials/cloud"),
        ("resourceManagerEndpoint", "https://127.0.0.1:8080"),
        (
            "caCert",
            "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n",
        ),
        ("freeze", "required"),
        ("freezeTimeout", "30s"),
        (
            "zoneMapping",
            "westeurope-1=westeurope-2,westeurope-2=westeurope-2",
        ),
        ("skuMapping", "premium_lrs=PremiumV2_LRS"),
        ("targetResourceGroup", "restored"),
        ("targetSubscriptionId", SUBSCRIPTION),
        ("copyTimeout", "2h"),
        ("convertToCSI", "F"),
        ("agent", "unix:/run/stillpoint/agent.sock"),
    ])
    .unwrap();
    assert_eq!(settings.tags["cost"], "a=b");
    assert_eq!(settings.zone_mapping.len(), 2);
    assert_eq!(
        settings.agent,
        AgentChoice::Unix("/run/stillpoint/agent.sock".into())
    );
    let account = parse(&[("agentServiceAccount", "backup/velero-server")]).unwrap();
    let account = match account.agent {
        AgentChoice::Auto { account } => account.map(|account| account.to_string()),
        AgentChoice::Unix(path) => panic!("{}", path.display()),
    };
    assert_eq!(account.as_deref(), Some("backup/velero-server"));
    let cluster = ResourceGroup {
        subscription: "s".to_owned(),
        name: "rg".to_owned(),
    };
    let location = Location::new(settings, cluster);
    assert_eq!(location.snapshots().name, "backups");
    assert_eq!(location.restored().subscription, SUBSCRIPTION);
    assert_eq!(
        location.mapped(&Sku::new("Premium_LRS")),
        Sku::new("PremiumV2_LRS")
    );
    assert_eq!(
        location.mapped(&Sku::new("Standard_LRS")),
        Sku::new("Standard_LRS")
    );
}

#[test]
fn a_wrong_value_is_named_with_what_is_allowed() {
    for (key, value, expected) in [
        ("apiTimeout", "5", "1s to 24h"),
        ("apiTimeout", "0s", "1s to 24h"),
        ("apiTimeout", "-1s", "1s to 24h"),
        ("freezeTimeout", "61s", "1s to 60s"),
        ("freezeTimeout", "500ms", "1s to 60s"),
        ("freeze", "Required", "auto, required or off"),
        ("incremental", "yes", "true or false"),
        ("convertToCSI", "2", "true or false"),
        ("tags", "a", "key1=value1"),
        ("tags", "=a", "key1=value1"),
        ("tags", "a=1,A=2", "twice"),
        ("tags", "a/b=1", "`<>%&\\?/`"),
        ("tags", "azure-thing=1", "azure"),
        ("tags", "stillpoint-state=1", "stillpoint-"),
        ("zoneMapping", "1=2", "westeurope-1"),
        ("zoneMapping", "westeurope-1=northeurope-1", "one region"),
        (
            "zoneMapping",
            "westeurope-1=westeurope-2,westeurope-1=westeurope-3",
            "once",
        ),
        ("skuMapping", "Premium=PremiumV2_LRS", "disk SKUs"),
        (
            "skuMapping",
            "Premium_LRS=PremiumV2_LRS,premium_lrs=Standard_LRS",
            "twice",
        ),
        ("subscriptionId", "mine", "subscription's ID"),
        ("resourceGroup", "a/b", "resource group"),
        ("targetResourceGroup", "a.", "resource group"),
        ("resourceManagerEndpoint", "http://example.com", "https"),
        ("resourceManagerEndpoint", "http://localhost:8080", "https"),
        ("activeDirectoryAuthorityURI", "login", "https"),
        ("caCert", "/etc/ca.pem", "PEM"),
        ("agent", "unix:relative", "unix:"),
        ("agent", "tcp:1", "unix:"),
        ("agentServiceAccount", "velero", "velero/velero"),
        ("agentServiceAccount", "Velero/a", "velero/velero"),
        ("copyTimeout", "soon", "0s to 168h"),
    ] {
        let error = parse(&[(key, value)]).unwrap_err().to_string();
        for part in [key, value, expected] {
            assert!(error.contains(part), "{part} is missing in: {error}");
        }
    }
}

#[test]
fn an_unknown_key_is_named_with_the_one_probably_meant() {
    let error = parse(&[("resourcegroup", "rg")]).unwrap_err().to_string();
    assert!(
        error.contains("`resourcegroup`") && error.contains("(`resourceGroup`?)"),
        "{error}"
    );
    let error = parse(&[("colour", "red")]).unwrap_err().to_string();
    assert!(
        error.contains("`colour`") && error.contains("freezeTimeout"),
        "{error}"
    );
}

#[test]
fn a_subscription_needs_its_resource_group() {
    for key in ["subscriptionId", "targetSubscriptionId"] {
        let error = parse(&[(key, SUBSCRIPTION)]).unwrap_err().to_string();
        assert!(error.contains("esourceGroup` is not set"), "{error}");
    }
}

#[test]
fn an_annotation_never_lowers_required() {
    use FreezeMode::{Auto, Off, Required};
    for (location, wish, expected) in [
        (Auto, None, Auto),
        (Auto, Some(Off), Off),
        (Auto, Some(Required), Required),
        (Off, Some(Auto), Auto),
        (Off, Some(Required), Required),
        (Required, Some(Off), Required),
        (Required, Some(Auto), Required),
    ] {
        assert_eq!(
            location.overridden_by(wish),
            expected,
            "{location} {wish:?}"
        );
    }
}

#[test]
fn a_bare_disk_name_is_in_the_clusters_group() {
    let cluster = ResourceGroup {
        subscription: "s".to_owned(),
        name: "rg".to_owned(),
    };
    let location = Location::new(parse(&[]).unwrap(), cluster.clone());
    assert_eq!(location.disk("d1").unwrap(), DiskId::new(cluster, "D1"));
    let full = "/subscriptions/t/resourceGroups/x/providers/Microsoft.Compute/disks/d";
    assert_eq!(location.disk(full).unwrap().to_string(), full);
    for wrong in ["", "a b", "/subscriptions/t", "a?b"] {
        let error = location.disk(wrong).unwrap_err().to_string();
        assert!(error.contains(&format!("`{wrong}`")), "{error}");
    }
}
