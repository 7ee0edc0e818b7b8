//! Configs, volumes and process environments that are wrong, through the plugin's process: each error says what was
//! seen, what was expected, and where it is set.
#![allow(missing_docs, clippy::unwrap_used)]

use stillpoint_system::{
    cloud::{Cloud, init},
    rig::NAME,
};
use tonic::Code;

#[tokio::test(flavor = "multi_thread")]
async fn every_wrong_key_or_value_is_refused_by_init_and_remembered() {
    let Some(cloud) = Cloud::start().await.unwrap() else {
        return;
    };
    let plugin = cloud.plugin().await.unwrap();
    let snapshotter = plugin.snapshotter(NAME);
    let disk = cloud
        .lab
        .create_disk(&cloud.premium("d"))
        .unwrap()
        .to_string();
    let error = snapshotter.volume_info(&disk, "").await.unwrap_err();
    assert!(error.message().contains("was not initialized"), "{error}");
    let long = "group-".repeat(16);
    for (key, value, allowed) in [
        ("resourcegroup", "rg", "(`resourceGroup`?)"),
        ("freezetimeout", "5s", "(`freezeTimeout`?)"),
        ("colour", "red", "zoneMapping"),
        ("bucket", "b", "no key"),
        ("resourceGroup", "a/b", "resource group"),
        ("resourceGroup", &long, "at most 90"),
        ("subscriptionId", "mine", "subscription's ID"),
        ("apiTimeout", "5", "1s to 24h"),
        ("apiTimeout", "0s", "1s to 24h"),
        ("apiTimeout", "-5m", "1s to 24h"),
        ("incremental", "yes", "true or false"),
        ("incremental", " true", "true or false"),
        ("tags", "a", "key1=value1"),
        ("tags", "a=1,,b=2", "key1=value1"),
        ("tags", "a/b=1", "`<>%&\\?/`"),
        ("tags", "microsoft-x=1", "reserves"),
        ("tags", "stillpoint-state=complete", "stillpoint-"),
        ("tags", "a=1,A=2", "twice"),
        ("activeDirectoryAuthorityURI", "login.example", "https"),
        (
            "activeDirectoryAuthorityURI",
            "http://login.example",
            "https",
        ),
        ("resourceManagerEndpoint", "http://arm.example", "https"),
        ("resourceManagerEndpoint", "http://127.0.0.1:1", "https"),
        ("resourceManagerEndpoint", "ftp://arm.example", "https"),
        ("credentialsFile", "/nowhere", "No such file"),
        ("caCert", "/etc/ca.pem", "PEM"),
        ("freeze", "on", "auto, required or off"),
        ("freeze", "Required", "auto, required or off"),
        ("freezeTimeout", "500ms", "1s to 60s"),
        ("freezeTimeout", "61s", "1s to 60s"),
        ("freezeTimeout", "ten", "1s to 60s"),
        ("zoneMapping", "1=2", "westeurope-1"),
        ("zoneMapping", "westeurope-1", "westeurope-1=westeurope-2"),
        (
            "zoneMapping",
            "westeurope-1=northeurope-1",
            "copy the snapshot",
        ),
        (
            "zoneMapping",
            "westeurope-1=westeurope-2,WestEurope-1=westeurope-3",
            "once",
        ),
        (
            "skuMapping",
            "Premium=PremiumV2_LRS",
            "Premium_LRS=PremiumV2_LRS",
        ),
        ("skuMapping", "Premium_LRS=", "disk SKUs"),
        (
            "skuMapping",
            "Premium_LRS=Premium_ZRS,premium_lrs=Standard_LRS",
            "twice",
        ),
        ("targetResourceGroup", "ends.", "resource group"),
        ("targetSubscriptionId", "11111111", "subscription's ID"),
        (
            "targetSubscriptionId",
            "11111111-2222-3333-4444-555555555555",
            "`targetResourceGroup` is not set",
        ),
        ("copyTimeout", "soon", "0s to 168h"),
        ("copyTimeout", "-1s", "0s to 168h"),
        ("convertToCSI", "maybe", "true or false"),
        ("agent", "tcp:1.2.3.4", "unix:"),
        ("agent", "unix:agent.sock", "absolute path"),
    ] {
        let error = init(&snapshotter, &cloud.config(&[(key, value)]))
            .await
            .unwrap_err();
        let unknown = error.message().contains("is no key");
        let shown = if unknown {
            key
        } else {
            &value[..value.len().min(90)]
        };
        for part in [key, shown, allowed] {
            assert!(error.message().contains(part), "{part} in {error}");
        }
        assert!(
            [Code::InvalidArgument, Code::FailedPrecondition].contains(&error.code()),
            "{error}"
        );
        let later = snapshotter.volume_info(&disk, "").await.unwrap_err();
        assert!(
            later.message().contains(key),
            "a call goes nowhere after {error}: {later}"
        );
    }
    assert!(cloud.lab.requests().is_empty(), "{:?}", cloud.requests());
    // What is empty counts as not set, as in the stock plugin.
    let empty = [
        ("tags", ""),
        ("freeze", ""),
        ("zoneMapping", ""),
        ("caCert", cloud.lab.ca_pem()),
    ];
    init(&snapshotter, &cloud.config(&empty)).await.unwrap();
    snapshotter.volume_info(&disk, "").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_volume_is_refused_before_azure_is_asked() {
    let Some(cloud) = Cloud::start().await.unwrap() else {
        return;
    };
    let plugin = cloud.plugin().await.unwrap();
    let snapshotter = cloud.snapshotter(&plugin, &[]).await.unwrap();
    cloud.lab.clear_requests();
    let snapshot = cloud.lab.snapshot_id("s").to_string();
    for volume in [
        "",
        "a b",
        "a?b",
        "../../x",
        "/subscriptions/s",
        "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/disks/",
        "/subscriptions//resourceGroups/g/providers/Microsoft.Compute/disks/d",
        "/subscriptions/s/resourceGroups/g/providers/Microsoft.Storage/disks/d",
        "https://account.blob.core.windows.net/vhds/d.vhd",
        &snapshot,
    ] {
        for error in [
            snapshotter.volume_info(volume, "").await.unwrap_err(),
            snapshotter
                .create_snapshot(volume, "", &[])
                .await
                .unwrap_err(),
        ] {
            assert_eq!(error.code(), Code::InvalidArgument, "{error}");
            for part in [&*format!("`{volume}`"), "Microsoft.Compute/disks/<name>"] {
                assert!(error.message().contains(part), "{part} in {error}");
            }
        }
    }
    let asked = cloud.lab.requests();
    assert!(
        asked.iter().all(|request| !request.path.contains("disks")),
        "{asked:?}"
    );
    let missing = cloud.lab.disk_id("missing").to_string();
    for error in [
        snapshotter.volume_info(&missing, "").await.unwrap_err(),
        snapshotter
            .create_snapshot(&missing, "", &[])
            .await
            .unwrap_err(),
    ] {
        assert_eq!(error.code(), Code::NotFound, "{error}");
        assert!(error.message().contains(&missing), "{error}");
    }
    assert!(cloud.lab.snapshots().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_further_name_is_told_when_the_host_asks() {
    let Some(cloud) = Cloud::start().await.unwrap() else {
        return;
    };
    let host = Cloud::host()
        .unwrap()
        .variable("STILLPOINT_ALSO_SERVE", "velero.io/aws");
    let plugin = host.start().await.unwrap();
    let config = cloud.config(&[]);
    for error in [
        plugin.list_plugins().await.unwrap_err(),
        init(&plugin.snapshotter(NAME), &config).await.unwrap_err(),
    ] {
        for part in ["STILLPOINT_ALSO_SERVE", "velero.io/aws", "velero.io/azure"] {
            assert!(error.message().contains(part), "{part} in {error}");
        }
    }
    let plugin = cloud.plugin().await.unwrap();
    let error = init(&plugin.snapshotter("velero.io/azure"), &config)
        .await
        .unwrap_err();
    for part in ["velero.io/azure", NAME] {
        assert!(error.message().contains(part), "{part} in {error}");
    }
}
