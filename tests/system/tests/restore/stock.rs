//! Snapshots that are not ours, or not where the location's are.

use serde_json::json;
use stillpoint_lab::{NewDisk, Sku};
use stillpoint_system::cloud::Cloud;

const OTHER: &str = "11111111-2222-3333-4444-555555555555";

#[tokio::test(flavor = "multi_thread")]
async fn the_stock_plugins_snapshots_are_restored_by_what_velero_kept() {
    let Some(cloud) = Cloud::start().await.unwrap() else {
        return;
    };
    let plugin = cloud.plugin().await.unwrap();
    let snapshotter = cloud
        .snapshotter(
            &plugin,
            &[("skuMapping", "StandardSSD_LRS=StandardSSD_ZRS")],
        )
        .await
        .unwrap();
    let disk = cloud.lab.create_disk(&cloud.premium("old")).unwrap();
    let snapshot = cloud.stock_snapshot("old-snapshot", &disk).await.unwrap();
    cloud.lab.delete_disk(&disk);
    for (volume_type, zone, iops, zones, sku) in [
        (
            "Premium_LRS",
            "westeurope-2",
            None,
            json!(["2"]),
            "Premium_LRS",
        ),
        ("premium_lrs", "2", Some(120), json!(["2"]), "Premium_LRS"),
        (
            "Premium_ZRS",
            "westeurope-2",
            None,
            json!(null),
            "Premium_ZRS",
        ),
        ("Standard_LRS", "", None, json!(null), "Standard_LRS"),
        ("StandardSSD_LRS", "0", None, json!(null), "StandardSSD_ZRS"),
    ] {
        let made = snapshotter
            .create_volume(&snapshot.to_string(), volume_type, zone, iops)
            .await;
        let made = cloud.shown(&made.expect(volume_type)).unwrap();
        assert_eq!(made["sku"]["name"], sku);
        assert_eq!(made["zones"], zones, "{volume_type}");
        let tags = made["tags"].as_object().unwrap();
        assert_eq!(
            tags.keys().collect::<Vec<_>>(),
            ["stillpoint-from-snapshot"]
        );
    }
    for (volume_type, told) in [("", "Premium_LRS"), ("Floppy", "Floppy")] {
        let error = snapshotter
            .create_volume(&snapshot.to_string(), volume_type, "", None)
            .await
            .unwrap_err();
        assert!(error.message().contains(told), "{error}");
        assert!(error.message().contains("old-snapshot"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn provisioned_speed_that_velero_kept_comes_back() {
    let Some(cloud) = Cloud::start().await.unwrap() else {
        return;
    };
    cloud
        .lab
        .change_settings(|settings| settings.snapshot.copy = std::time::Duration::ZERO);
    let plugin = cloud.plugin().await.unwrap();
    let snapshotter = cloud.snapshotter(&plugin, &[]).await.unwrap();
    let wide = json!({"diskIOPSReadWrite": 4000});
    let disk = cloud.disk("v2", Sku::PremiumV2Lrs, 100, wide);
    let disk = cloud.lab.create_disk(&disk).unwrap();
    let info = snapshotter
        .volume_info(&disk.to_string(), "westeurope-1")
        .await
        .unwrap();
    assert_eq!(info, ("PremiumV2_LRS".to_owned(), Some(4000)));
    let snapshot = cloud.stock_snapshot("v2-snapshot", &disk).await.unwrap();
    let made = snapshotter
        .create_volume(&snapshot.to_string(), &info.0, "westeurope-1", info.1)
        .await
        .unwrap();
    let made = cloud.shown(&made).unwrap();
    assert_eq!(made["properties"]["diskIOPSReadWrite"], 4000);
    assert_eq!(
        made["properties"]["creationData"]["logicalSectorSize"],
        4096
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshots_own_subscription_and_group_count_in_any_letter_case() {
    let Some(cloud) = Cloud::start().await.unwrap() else {
        return;
    };
    let lab = &cloud.lab;
    let own = lab.endpoints().subscription.clone();
    lab.add_subscription(OTHER, &lab.endpoints().tenant);
    for subscription in [&own, OTHER] {
        lab.add_resource_group(subscription, "Elsewhere", "northeurope")
            .unwrap();
    }
    let plugin = cloud.plugin().await.unwrap();
    let plain = cloud.snapshotter(&plugin, &[]).await.unwrap();
    for (subscription, group) in [(own.as_str(), "Elsewhere"), (OTHER, "Elsewhere")] {
        let mut id = lab.disk_id("d");
        (id.subscription, id.group) = (subscription.into(), group.into());
        let disk = NewDisk {
            zone: Some("3".into()),
            ..NewDisk::new(id)
        };
        let there = [("resourceGroup", group), ("subscriptionId", subscription)];
        let taker = cloud.snapshotter(&plugin, &there).await.unwrap();
        let snapshot = cloud.snapshot_of_lost(&taker, &disk).await.unwrap();
        let place = format!("/subscriptions/{subscription}/resourceGroups/{group}/");
        assert!(snapshot.starts_with(&place), "{snapshot}");
        // The location of another backup, whose subscription and group are not the snapshot's.
        cloud.snapshotter(&plugin, &[]).await.unwrap();
        for id in [
            snapshot.clone(),
            snapshot.to_uppercase(),
            snapshot.to_lowercase(),
            snapshot.replace("resourceGroups", "resourcegroups"),
        ] {
            let made = plain.create_volume(&id, "", "", None).await.expect(&id);
            let shown = cloud.shown(&made).unwrap();
            assert_eq!(shown["zones"], json!(["3"]), "{id}");
            let home = format!("/subscriptions/{own}/resourceGroups/Stillpoint-Lab/");
            assert!(shown["id"].as_str().unwrap().starts_with(&home), "{shown}");
        }
        plain
            .delete_snapshot(&snapshot.to_uppercase())
            .await
            .unwrap();
        assert!(lab.snapshots().is_empty(), "{snapshot} is still there");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_snapshot_id_is_refused_with_what_one_looks_like() {
    let Some(cloud) = Cloud::start().await.unwrap() else {
        return;
    };
    let plugin = cloud.plugin().await.unwrap();
    let snapshotter = cloud.snapshotter(&plugin, &[]).await.unwrap();
    cloud.lab.clear_requests();
    let disk = cloud.lab.disk_id("d").to_string();
    for id in [
        "",
        "snap-1",
        "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/snapshots/",
        "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/snapshots/a?b",
        "/subscriptions/s/resourceGroups/../providers/Microsoft.Compute/snapshots/a/b",
        "/subscriptions/s/providers/Microsoft.Compute/snapshots/a",
        "/subscriptions/s/resourceGroups/g/providers/Microsoft.Storage/snapshots/a",
        &disk,
    ] {
        for error in [
            snapshotter
                .create_volume(id, "", "", None)
                .await
                .unwrap_err(),
            snapshotter.delete_snapshot(id).await.unwrap_err(),
        ] {
            assert_eq!(error.code(), tonic::Code::InvalidArgument, "{error}");
            for part in [&*format!("`{id}`"), "Microsoft.Compute/snapshots/<name>"] {
                assert!(error.message().contains(part), "{part} in {error}");
            }
        }
    }
    assert!(
        cloud
            .lab
            .requests()
            .iter()
            .all(|request| !request.path.contains("snapshots/"))
    );
}
