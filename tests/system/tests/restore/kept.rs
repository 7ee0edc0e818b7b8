//! What a snapshot does not remember of its disk is kept, though the disk is gone.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use stillpoint_lab::{Kind, NewDisk, ResourceId, Sku};
use stillpoint_system::cloud::Cloud;

fn registered(cloud: &Cloud, kind: Kind, name: &str) -> String {
    let id = ResourceId {
        kind,
        ..cloud.lab.disk_id(name)
    };
    cloud.lab.register(&id, "westeurope");
    id.to_string()
}

/// What of a disk must be the same again; not what Azure gives each disk anew.
fn lasting(disk: &Value) -> Value {
    let mut properties = disk["properties"].as_object().unwrap().clone();
    for own in ["uniqueId", "timeCreated", "creationData"] {
        properties.remove(own);
    }
    let creation = &disk["properties"]["creationData"];
    json!({
        "sku": disk["sku"], "zones": disk["zones"], "location": disk["location"], "properties": properties,
        "performancePlus": creation["performancePlus"] == true, "sector": creation["logicalSectorSize"],
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_gone_comes_back_as_it_was() {
    let Some(cloud) = Cloud::start().await.unwrap() else {
        return;
    };
    cloud
        .lab
        .change_settings(|settings| settings.snapshot.copy = std::time::Duration::from_millis(20));
    let encryption_set = registered(&cloud, Kind::DiskEncryptionSet, "keys");
    let access = registered(&cloud, Kind::DiskAccess, "private");
    let plugin = cloud.plugin().await.unwrap();
    let snapshotter = cloud.snapshotter(&plugin, &[]).await.unwrap();
    let nothing = json!({});
    for disk in [
        cloud.disk("hdd", Sku::StandardLrs, 3, nothing.clone()),
        cloud.disk("ssd", Sku::StandardSsdLrs, 5, json!({"maxShares": 2})),
        cloud.disk("ssd-zrs", Sku::StandardSsdZrs, 4, nothing.clone()),
        cloud.disk(
            "premium",
            Sku::PremiumLrs,
            1024,
            json!({
                "tier": "P50", "burstingEnabled": true, "optimizedForFrequentAttach": true,
                "encryption": {"type": "EncryptionAtRestWithCustomerKey", "diskEncryptionSetId": encryption_set},
                "networkAccessPolicy": "AllowPrivate", "diskAccessId": access,
                "publicNetworkAccess": "Disabled", "dataAccessAuthMode": "AzureActiveDirectory",
            }),
        ),
        cloud.disk(
            "premium-zrs",
            Sku::PremiumZrs,
            600,
            json!({
                "maxShares": 3, "networkAccessPolicy": "DenyAll",
                "creationData": {"createOption": "Empty", "performancePlus": true},
                "encryption": {"type": "EncryptionAtRestWithPlatformAndCustomerKeys", "diskEncryptionSetId": encryption_set},
            }),
        ),
        cloud.disk(
            "v2",
            Sku::PremiumV2Lrs,
            100,
            json!({
                "diskIOPSReadWrite": 6000, "diskMBpsReadWrite": 300,
                "creationData": {"createOption": "Empty", "logicalSectorSize": 512},
            }),
        ),
        cloud.disk("v2-4096", Sku::PremiumV2Lrs, 8, json!({"diskIOPSReadWrite": 3500})),
        cloud.disk(
            "ultra",
            Sku::UltraSsdLrs,
            64,
            json!({
                "diskIOPSReadWrite": 9000, "diskMBpsReadWrite": 500, "maxShares": 2,
                "diskIOPSReadOnly": 700, "diskMBpsReadOnly": 30,
                "creationData": {"createOption": "Empty", "logicalSectorSize": 4096},
            }),
        ),
    ] {
        let id = cloud.lab.create_disk(&disk).unwrap();
        let name = &id.name;
        let original = cloud.lab.disk(&id).unwrap();
        let taken = snapshotter
            .create_snapshot(&id.to_string(), "westeurope-1", &[("velero.io/backup", "b")])
            .await;
        let snapshot = taken.expect(name);
        cloud.lab.delete_disk(&id);
        // Velero would pass type and IOPS too; they must not be needed.
        let made = snapshotter.create_volume(&snapshot, "", "", None).await;
        let restored = cloud.shown(&made.expect(name)).unwrap();
        assert_eq!(lasting(&restored), lasting(&original), "{name}");
    }
    let ignored: Vec<_> = cloud
        .lab
        .requests()
        .into_iter()
        .flat_map(|request| request.ignored)
        .collect();
    assert_eq!(ignored, [""; 0], "read-only properties were sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_disks_own_tags_come_back_and_nobody_elses() {
    let Some(cloud) = Cloud::start().await.unwrap() else {
        return;
    };
    let plugin = cloud.plugin().await.unwrap();
    let snapshotter = cloud
        .snapshotter(&plugin, &[("tags", "cost-center=backup,Team=sre")])
        .await
        .unwrap();
    let tags = [
        ("team", "shop"),
        ("owner", "jane"),
        ("kubernetes.io-created-for-pvc-name", "data"),
        ("kubernetes.io-created-for-pvc-namespace", "shop"),
        ("kubernetes.io-created-for-pv-name", "pvc-1"),
        ("k8s-azure-created-by", "kubernetes-azure-dd"),
    ];
    let disk = NewDisk {
        tags: tags.map(|(key, value)| (key.into(), value.into())).into(),
        ..cloud.premium("tagged")
    };
    let id = cloud.lab.create_disk(&disk).unwrap();
    let backup = [
        ("velero.io/backup", "b"),
        ("velero.io/pv", "pvc-1"),
        ("owner", "velero"),
        ("app", "x"),
    ];
    let snapshot = snapshotter
        .create_snapshot(&id.to_string(), "westeurope-1", &backup)
        .await
        .unwrap();
    let on_snapshot = cloud.lab.snapshot(&snapshot.parse().unwrap()).unwrap().tags;
    for (key, value) in [
        ("velero.io-backup", "b"),
        ("velero.io-pv", "pvc-1"),
        ("owner", "velero"),
        ("app", "x"),
        ("cost-center", "backup"),
        ("Team", "sre"),
    ] {
        assert_eq!(
            on_snapshot.get(key).map(String::as_str),
            Some(value),
            "{key}"
        );
    }
    cloud.lab.delete_disk(&id);
    let made = snapshotter
        .create_volume(&snapshot, "Premium_LRS", "westeurope-1", None)
        .await
        .unwrap();
    let tags = cloud.shown(&made).unwrap()["tags"].clone();
    let tags: BTreeMap<String, String> = serde_json::from_value(tags).unwrap();
    let (ours, theirs): (BTreeMap<_, _>, BTreeMap<_, _>) = tags
        .into_iter()
        .partition(|(key, _)| key.starts_with("stillpoint-"));
    assert_eq!(
        theirs,
        [("team", "shop"), ("owner", "jane")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into()
    );
    assert_eq!(ours["stillpoint-from-snapshot"], snapshot);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mapped_sku_keeps_what_it_can() {
    let Some(cloud) = Cloud::start().await.unwrap() else {
        return;
    };
    cloud
        .lab
        .change_settings(|settings| settings.snapshot.copy = std::time::Duration::from_millis(20));
    let plugin = cloud.plugin().await.unwrap();
    let plain = cloud.snapshotter(&plugin, &[]).await.unwrap();
    let burst = json!({"tier": "P50", "burstingEnabled": true, "maxShares": 2});
    let premium = cloud.disk("premium", Sku::PremiumLrs, 1024, burst);
    let premium = cloud.snapshot_of_lost(&plain, &premium).await.unwrap();
    let v2 = json!({
        "diskIOPSReadWrite": 10_000, "diskMBpsReadWrite": 1000,
        "creationData": {"createOption": "Empty", "logicalSectorSize": 512},
    });
    let v2 = cloud.disk("v2", Sku::PremiumV2Lrs, 20, v2);
    let v2 = cloud.snapshot_of_lost(&plain, &v2).await.unwrap();
    let wide = cloud.disk("wide", Sku::UltraSsdLrs, 8, Value::Null);
    let wide = cloud.snapshot_of_lost(&plain, &wide).await.unwrap();
    let fast = json!({"diskIOPSReadWrite": 100_000, "diskMBpsReadWrite": 4000, "maxShares": 2, "diskIOPSReadOnly": 500});
    let fast = cloud.disk("fast", Sku::UltraSsdLrs, 512, fast);
    let fast = cloud.snapshot_of_lost(&plain, &fast).await.unwrap();
    for (snapshot, mapping, sku, sector, least_iops) in [
        (
            &premium,
            "Premium_LRS=PremiumV2_LRS",
            "PremiumV2_LRS",
            json!(512),
            7500,
        ),
        (
            &premium,
            "premium_lrs=UltraSSD_LRS",
            "UltraSSD_LRS",
            json!(512),
            7500,
        ),
        (
            &premium,
            "Premium_LRS=StandardSSD_LRS",
            "StandardSSD_LRS",
            json!(null),
            0,
        ),
        (
            &premium,
            "Premium_LRS=Standard_LRS",
            "Standard_LRS",
            json!(null),
            0,
        ),
        (
            &premium,
            "Premium_LRS=Premium_ZRS",
            "Premium_ZRS",
            json!(null),
            7500,
        ),
        // Ultra has fewer IOPS for each GiB, PremiumV2 a lower ceiling.
        (
            &v2,
            "PremiumV2_LRS=UltraSSD_LRS",
            "UltraSSD_LRS",
            json!(512),
            6000,
        ),
        (
            &fast,
            "UltraSSD_LRS=PremiumV2_LRS",
            "PremiumV2_LRS",
            json!(4096),
            80_000,
        ),
        (
            &v2,
            "PremiumV2_LRS=Premium_LRS",
            "Premium_LRS",
            json!(null),
            0,
        ),
        (
            &wide,
            "UltraSSD_LRS=PremiumV2_LRS",
            "PremiumV2_LRS",
            json!(4096),
            3000,
        ),
    ] {
        let snapshotter = cloud
            .snapshotter(&plugin, &[("skuMapping", mapping)])
            .await
            .unwrap();
        let made = snapshotter
            .create_volume(snapshot, "", "westeurope-1", None)
            .await;
        let disk = cloud.shown(&made.expect(mapping)).unwrap();
        let properties = &disk["properties"];
        assert_eq!(disk["sku"]["name"], sku, "{mapping}");
        assert_eq!(
            properties["creationData"]["logicalSectorSize"], sector,
            "{mapping}"
        );
        let iops = properties["diskIOPSReadWrite"].as_u64().unwrap();
        assert!(iops >= least_iops, "{mapping}: {iops}");
    }
    let snapshotter = cloud
        .snapshotter(&plugin, &[("skuMapping", "UltraSSD_LRS=Premium_LRS")])
        .await
        .unwrap();
    let error = snapshotter
        .create_volume(&wide, "", "", None)
        .await
        .unwrap_err();
    for part in ["4096", "Premium_LRS", "skuMapping"] {
        assert!(error.message().contains(part), "{part} in {error}");
    }
}
