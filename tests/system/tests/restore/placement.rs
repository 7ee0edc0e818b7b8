//! Where a restored disk is.

use serde_json::{Value, json};
use stillpoint_lab::{NewDisk, Sku};
use stillpoint_system::cloud::Cloud;

#[tokio::test(flavor = "multi_thread")]
async fn the_disk_is_in_the_zone_of_the_volume_or_its_mapping() {
    let Some(cloud) = Cloud::start().await.unwrap() else {
        return;
    };
    let plugin = cloud.plugin().await.unwrap();
    let plain = cloud.snapshotter(&plugin, &[]).await.unwrap();
    let recorded = cloud
        .snapshot_of_lost(&plain, &cloud.premium("zonal"))
        .await
        .unwrap();
    let regional = NewDisk::new(cloud.lab.disk_id("regional"));
    let regional = cloud.snapshot_of_lost(&plain, &regional).await.unwrap();
    let redundant = cloud.disk("redundant", Sku::StandardSsdZrs, 1, Value::Null);
    let redundant = cloud.snapshot_of_lost(&plain, &redundant).await.unwrap();
    let mapping = "westeurope-1=westeurope-3,westeurope-2=westeurope-1";
    let none = json!(null);
    for (snapshot, zone, config, expected) in [
        (&recorded, "westeurope-2", ("", ""), json!(["2"])),
        (&recorded, "WestEurope-2", ("", ""), json!(["2"])),
        (&recorded, "", ("", ""), json!(["1"])),
        (&recorded, "0", ("", ""), json!(["1"])),
        (&recorded, "1", ("", ""), json!(["1"])),
        (
            &recorded,
            "westeurope-1",
            ("zoneMapping", mapping),
            json!(["3"]),
        ),
        (
            &recorded,
            "westeurope-2",
            ("zoneMapping", mapping),
            json!(["1"]),
        ),
        (&recorded, "", ("zoneMapping", mapping), json!(["3"])),
        (
            &recorded,
            "westeurope-1",
            ("skuMapping", "premium_lrs=Premium_ZRS"),
            none.clone(),
        ),
        (&regional, "", ("", ""), none.clone()),
        (&regional, "0", ("", ""), none.clone()),
        // In-tree volumes without a zone name fault domains.
        (&regional, "1", ("", ""), none.clone()),
        (&regional, "westeurope-3", ("", ""), json!(["3"])),
        (&redundant, "westeurope-1", ("", ""), none.clone()),
        (&redundant, "", ("", ""), none.clone()),
    ] {
        let case = format!("{snapshot} {zone:?} {config:?}");
        let more: Vec<_> = [config]
            .into_iter()
            .filter(|(key, _)| !key.is_empty())
            .collect();
        let snapshotter = cloud.snapshotter(&plugin, &more).await.unwrap();
        let made = snapshotter.create_volume(snapshot, "", zone, None).await;
        let disk = cloud.shown(&made.expect(&case)).unwrap();
        assert_eq!(disk["zones"], expected, "{case}");
        assert_eq!(disk["location"], "westeurope", "{case}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_without_zones_has_none() {
    let Some(cloud) = Cloud::start().await.unwrap() else {
        return;
    };
    let subscription = cloud.lab.endpoints().subscription.clone();
    cloud
        .lab
        .add_resource_group(&subscription, "west", "westus")
        .unwrap();
    let plugin = cloud.plugin().await.unwrap();
    let snapshotter = cloud
        .snapshotter(&plugin, &[("targetResourceGroup", "west")])
        .await
        .unwrap();
    let mut disk = NewDisk::new(cloud.lab.disk_id("zoneless"));
    disk.location = "westus".into();
    let snapshot = cloud.snapshot_of_lost(&snapshotter, &disk).await.unwrap();
    for zone in ["", "0", "2"] {
        let made = snapshotter
            .create_volume(&snapshot, "Premium_LRS", zone, None)
            .await;
        let made = cloud.shown(&made.unwrap()).unwrap();
        assert_eq!(made["zones"], Value::Null, "{zone:?}");
        assert_eq!(made["location"], "westus", "{zone:?}");
    }
    let refused = snapshotter
        .create_volume(&snapshot, "", "westus-1", None)
        .await
        .unwrap_err();
    assert!(refused.message().contains("zoneMapping"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_zone_of_the_region_is_refused_before_anything_is_made() {
    let Some(cloud) = Cloud::start().await.unwrap() else {
        return;
    };
    let plugin = cloud.plugin().await.unwrap();
    let snapshotter = cloud.snapshotter(&plugin, &[]).await.unwrap();
    let snapshot = cloud
        .snapshot_of_lost(&snapshotter, &cloud.premium("d"))
        .await
        .unwrap();
    for (zone, told) in [
        (
            "northeurope-1",
            &["westeurope", "northeurope-1", "copy the snapshot"][..],
        ),
        ("eu west", &["`eu west`", "westeurope-1"]),
        ("-1", &["`-1`", "westeurope-1"]),
        ("999", &["`999`", "westeurope-1"]),
        ("westeurope-9", &["zoneMapping"]),
    ] {
        let error = snapshotter
            .create_volume(&snapshot, "", zone, None)
            .await
            .unwrap_err();
        for part in told {
            assert!(error.message().contains(part), "{zone}: {part} in {error}");
        }
    }
    assert_eq!(cloud.lab.disks(), [], "nothing is left of them");
}

#[tokio::test(flavor = "multi_thread")]
async fn disks_are_restored_where_the_location_says() {
    let Some(cloud) = Cloud::start().await.unwrap() else {
        return;
    };
    let lab = &cloud.lab;
    let other = "11111111-2222-3333-4444-555555555555";
    lab.add_subscription(other, &lab.endpoints().tenant);
    for subscription in [&lab.endpoints().subscription, other] {
        lab.add_resource_group(subscription, "Restored", "northeurope")
            .unwrap();
    }
    let plugin = cloud.plugin().await.unwrap();
    let plain = cloud.snapshotter(&plugin, &[]).await.unwrap();
    let snapshot = cloud
        .snapshot_of_lost(&plain, &cloud.premium("d"))
        .await
        .unwrap();
    let own = &lab.endpoints().subscription;
    for (config, subscription, group) in [
        (vec![], own.as_str(), "Stillpoint-Lab"),
        (vec![("targetResourceGroup", "restored")], own, "Restored"),
        (
            vec![
                ("targetResourceGroup", "Restored"),
                ("targetSubscriptionId", other),
            ],
            other,
            "Restored",
        ),
    ] {
        let snapshotter = cloud.snapshotter(&plugin, &config).await.unwrap();
        let made = snapshotter
            .create_volume(&snapshot, "Premium_LRS", "westeurope-1", None)
            .await
            .unwrap();
        let id = cloud.shown(&made).unwrap()["id"]
            .as_str()
            .unwrap()
            .to_owned();
        let place = format!("/subscriptions/{subscription}/resourceGroups/{group}/");
        assert!(id.starts_with(&place), "{id} in {place}");
    }
    let before = lab.disks().len();
    let snapshotter = cloud
        .snapshotter(&plugin, &[("targetResourceGroup", "nowhere")])
        .await
        .unwrap();
    let error = snapshotter
        .create_volume(&snapshot, "", "", None)
        .await
        .unwrap_err();
    assert!(error.message().contains("'nowhere'"), "{error}");
    assert_eq!(lab.disks().len(), before);
}
