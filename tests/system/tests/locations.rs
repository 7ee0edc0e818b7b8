//! Snapshots of disks anywhere, as the location wants them, and what they cost in requests.
#![allow(missing_docs, clippy::unwrap_used)]

use stillpoint_lab::NewDisk;
use stillpoint_system::{
    cloud::{Cloud, init},
    rig::ZONE,
};

const OTHER: &str = "11111111-2222-3333-4444-555555555555";

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_is_found_in_any_group_subscription_and_letter_case() {
    let Some(cloud) = Cloud::start().await.unwrap() else {
        return;
    };
    let lab = &cloud.lab;
    let own = lab.endpoints().subscription.clone();
    lab.add_subscription(OTHER, &lab.endpoints().tenant);
    for subscription in [&own, OTHER] {
        lab.add_resource_group(subscription, "Team-B", "northeurope")
            .unwrap();
    }
    let plugin = cloud.plugin().await.unwrap();
    for (subscription, config) in [
        (&*own, vec![]),
        (
            OTHER,
            vec![("subscriptionId", OTHER), ("resourceGroup", "team-b")],
        ),
        // Full ones may go into another subscription.
        (OTHER, vec![("incremental", "false")]),
    ] {
        let snapshotter = cloud.snapshotter(&plugin, &config).await.unwrap();
        let mut id = lab.disk_id("d");
        (id.subscription, id.group) = (subscription.into(), "Team-B".into());
        let disk = lab
            .create_disk(&NewDisk {
                zone: Some("1".into()),
                ..NewDisk::new(id)
            })
            .unwrap();
        let handle = disk.to_string();
        for handle in [handle.clone(), handle.to_lowercase(), handle.to_uppercase()] {
            let info = snapshotter.volume_info(&handle, ZONE).await.unwrap();
            assert_eq!(info.0, "Premium_LRS");
            let snapshot = snapshotter
                .create_snapshot(&handle, ZONE, &[])
                .await
                .unwrap();
            let seen = lab.snapshot(&snapshot.parse().unwrap()).unwrap();
            assert_eq!(seen.source, disk, "{handle}");
            let full = config.contains(&("incremental", "false"));
            assert_eq!(seen.incremental, !full, "{handle}");
        }
        lab.delete_disk(&disk);
    }
    let disk = lab.create_disk(&cloud.premium("bare")).unwrap();
    let snapshotter = cloud.snapshotter(&plugin, &[]).await.unwrap();
    let snapshot = snapshotter
        .create_snapshot("BARE", ZONE, &[])
        .await
        .unwrap();
    assert_eq!(
        lab.snapshot(&snapshot.parse().unwrap()).unwrap().source,
        disk
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_cannot_be_is_told_and_nothing_is_left() {
    let Some(cloud) = Cloud::start().await.unwrap() else {
        return;
    };
    let lab = &cloud.lab;
    lab.add_subscription(OTHER, &lab.endpoints().tenant);
    lab.add_resource_group(OTHER, "Team-B", "northeurope")
        .unwrap();
    let plugin = cloud.plugin().await.unwrap();
    let disk = lab.create_disk(&cloud.premium("d")).unwrap().to_string();
    for (config, told) in [
        (
            vec![("resourceGroup", "no-such-group")],
            &["'no-such-group'", "ResourceGroupNotFound"][..],
        ),
        (
            vec![("subscriptionId", "99999999-0000-0000-0000-000000000000")],
            &["99999999-0000-0000-0000-000000000000"],
        ),
        (
            vec![
                ("subscriptionId", OTHER),
                ("resourceGroup", "Team-B"),
                ("incremental", "true"),
            ],
            &["incremental", "own subscription", OTHER],
        ),
    ] {
        let snapshotter = cloud.snapshotter(&plugin, &config).await.unwrap();
        let error = snapshotter
            .create_snapshot(&disk, ZONE, &[])
            .await
            .unwrap_err();
        for part in told {
            assert!(error.message().contains(part), "{part} in {error}");
        }
    }
    assert!(lab.snapshots().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_tags_are_as_azure_allows_them() {
    let Some(cloud) = Cloud::start().await.unwrap() else {
        return;
    };
    let lab = &cloud.lab;
    let plugin = cloud.plugin().await.unwrap();
    let snapshotter = cloud
        .snapshotter(&plugin, &[("tags", "team=backup,contact=ops@example.com")])
        .await
        .unwrap();
    let name = format!("pvc-{}", "n".repeat(76));
    let disk = NewDisk {
        tags: (0..50)
            .map(|n| (format!("disk-{n:02}"), "x".to_owned()))
            .collect(),
        ..cloud.premium(&name)
    };
    let disk = lab.create_disk(&disk).unwrap().to_string();
    let long = "v".repeat(300);
    let labels: Vec<_> = (0..20).map(|n| format!("label-{n:02}")).collect();
    let mut backup = vec![
        ("velero.io/backup", "nightly"),
        ("velero.io/pv", "pvc-1"),
        ("app.kubernetes.io/name", "a<b>%&\\?/c"),
        ("azure.workload.identity/use", "true"),
        ("a<b>c%d&e\\f?g/h", &long),
        ("Team", "theirs"),
        ("stillpoint-consistency", "filesystem"),
    ];
    backup.extend(labels.iter().map(|label| (label.as_str(), "y")));
    let snapshot = snapshotter
        .create_snapshot(&disk, ZONE, &backup)
        .await
        .unwrap();
    let seen = lab.snapshot(&snapshot.parse().unwrap()).unwrap();
    assert!(
        seen.id.name.len() <= 80 && seen.id.name.starts_with("pvc-nnnn"),
        "{}",
        seen.id.name
    );
    let tags = &seen.tags;
    assert_eq!(tags.len(), 50, "{tags:?}");
    for (key, value) in [
        ("velero.io-backup", "nightly"),
        ("velero.io-pv", "pvc-1"),
        ("app.kubernetes.io-name", "a<b>%&\\?/c"),
        ("_azure.workload.identity-use", "true"),
        ("a-b-c-d-e-f-g-h", &long[..256]),
        ("Team", "theirs"),
        ("contact", "ops@example.com"),
        ("label-19", "y"),
        ("stillpoint-state", "complete"),
        ("stillpoint-disk-sku", "Premium_LRS"),
    ] {
        assert_eq!(
            tags.get(key).map(String::as_str),
            Some(value),
            "{key}: {tags:?}"
        );
    }
    assert_eq!(
        tags["stillpoint-consistency"], "unmounted",
        "attached nowhere; nobody else says so"
    );
    let disks = tags.keys().filter(|key| key.starts_with("disk-")).count();
    assert!(
        disks > 0 && disks < 50,
        "the disk's own make room: {tags:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_costs_six_requests_at_most_and_a_process_one_login() {
    let Some(cloud) = Cloud::start().await.unwrap() else {
        return;
    };
    let plugin = cloud.plugin().await.unwrap();
    let snapshotter = cloud.snapshotter(&plugin, &[]).await.unwrap();
    let disks: Vec<_> = (0..5)
        .map(|n| {
            cloud
                .lab
                .create_disk(&cloud.premium(&format!("d{n}")))
                .unwrap()
                .to_string()
        })
        .collect();
    for disk in &disks {
        // As Velero's restore does for each volume.
        init(&snapshotter, &cloud.config(&[])).await.unwrap();
        snapshotter.volume_info(disk, ZONE).await.unwrap();
        snapshotter
            .create_snapshot(disk, ZONE, &[("velero.io/backup", "b")])
            .await
            .unwrap();
    }
    let other = cloud
        .snapshotter(&plugin, &[("tags", "a=b")])
        .await
        .unwrap();
    other.volume_info(&disks[0], ZONE).await.unwrap();
    let requests = cloud.requests();
    assert_eq!(requests["POST oauth2"], 1, "{requests:?}");
    let of = |what: &str| requests.get(what).copied().unwrap_or_default();
    assert_eq!(of("PUT snapshots"), disks.len(), "{requests:?}");
    assert_eq!(of("PUT disks") + of("DELETE snapshots"), 0, "{requests:?}");
    // A poll reads a snapshot, its group's list or an operation; the first list of a process is the sweep's.
    let paid = of("GET disks") - 1 + of("PUT snapshots") + of("PATCH snapshots");
    assert!(paid <= 6 * disks.len(), "{requests:?}");
    assert!(of("GET disks") - 1 <= 3 * disks.len(), "{requests:?}");
    assert_eq!(of("PATCH snapshots"), disks.len(), "{requests:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stock_plugins_name_serves_a_whole_backup_and_restore() {
    let Some(cloud) = Cloud::start().await.unwrap() else {
        return;
    };
    const STOCK: &str = "velero.io/azure";
    let host = Cloud::host()
        .unwrap()
        .variable("STILLPOINT_ALSO_SERVE", STOCK);
    let plugin = host.start().await.unwrap();
    let listed = plugin.list_plugins().await.unwrap();
    for name in [STOCK, "stillpoint.io/azure"] {
        let kinds: Vec<_> = listed
            .iter()
            .filter(|one| one.name == name)
            .map(|one| &*one.kind)
            .collect();
        assert!(kinds.contains(&"VolumeSnapshotter"), "{name}: {kinds:?}");
    }
    let snapshotter = plugin.snapshotter(STOCK);
    // No key that the stock plugin would not know, but those that lead to the lab.
    let mut config = cloud.config(&[
        ("apiTimeout", "2m"),
        ("incremental", "true"),
        ("tags", "a=b"),
    ]);
    config.remove("freeze");
    init(&snapshotter, &config).await.unwrap();
    let old = cloud.lab.create_disk(&cloud.premium("old")).unwrap();
    let pv = serde_json::json!({
        "metadata": {"name": "pvc-1"},
        "spec": {"csi": {"driver": "disk.csi.azure.com", "volumeHandle": old.to_string()}},
    });
    let id = snapshotter.volume_id(&pv).await.unwrap().unwrap();
    let (sku, iops) = snapshotter.volume_info(&id, ZONE).await.unwrap();
    let snapshot = snapshotter
        .create_snapshot(&id, ZONE, &[("velero.io/backup", "b")])
        .await
        .unwrap();
    cloud.lab.delete_disk(&old);
    let disk = snapshotter
        .create_volume(&snapshot, &sku, ZONE, iops)
        .await
        .unwrap();
    let pv = snapshotter.set_volume_id(&pv, &disk).await.unwrap();
    assert_eq!(
        snapshotter.volume_id(&pv).await.unwrap(),
        Some(disk.clone())
    );
    assert_eq!(
        cloud.shown(&disk).unwrap()["zones"],
        serde_json::json!(["1"])
    );
    snapshotter.delete_snapshot(&snapshot).await.unwrap();
    assert!(cloud.lab.snapshots().is_empty());
}
