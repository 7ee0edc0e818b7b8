use std::time::Duration;

use super::*;
use crate::{
    config::Settings,
    model::{Consistency, DiskProperties, Encryption},
    snapshot::fake::{self, World, group, properties},
    tags::Sources,
};

fn site(world: &World, config: &[(&str, &str)]) -> Restores {
    let config = config
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    let location = Location::new(Settings::parse(&config).unwrap(), group());
    Restores::new(Arc::new(location), Arc::new(world.clone()), Arc::default())
}

fn world(snapshot: Snapshot) -> World {
    let world = World::with([]);
    world.lock().snapshots.insert(snapshot.id.clone(), snapshot);
    world
}

/// As the stock plugin leaves one.
fn stock() -> Snapshot {
    Snapshot {
        id: SnapshotId::new(group(), "snap"),
        location: "westeurope".to_owned(),
        state: ProvisioningState::Succeeded,
        completion_percent: None,
        created: None,
        source: None,
        source_unique_id: None,
        gibibytes: Some(64),
        logical_sector_size: None,
        incremental: true,
        tags: [
            ("velero.io-backup".to_owned(), "b1".to_owned()),
            ("team".to_owned(), "a".to_owned()),
        ]
        .into(),
    }
}

fn ours(properties: DiskProperties) -> Snapshot {
    let disk = crate::model::Disk {
        properties,
        ..fake::disk("data")
    };
    let worth = crate::model::Worth {
        consistency: Consistency::Filesystem,
        reason: "held".to_owned(),
        frozen: Duration::from_secs(1),
    };
    let none = std::collections::BTreeMap::new();
    let sources = Sources {
        hold: "h",
        disk: &disk,
        backup: &none,
        backup_uid: None,
        home: None,
        location: &none,
    };
    Snapshot {
        tags: sources.complete(&worth),
        ..stock()
    }
}

fn request(volume_type: &str, zone: &str) -> Request {
    Request {
        snapshot: stock().id.to_string(),
        volume_type: volume_type.to_owned(),
        zone: zone.to_owned(),
        ..Request::default()
    }
}

async fn restore(
    snapshot: Snapshot,
    config: &[(&str, &str)],
    request: &Request,
) -> Result<DiskSpec, RestoreError> {
    let world = world(snapshot);
    site(&world, config)
        .restore(request, &CancellationToken::new())
        .await?;
    let spec = world.lock().created.pop().unwrap();
    Ok(spec)
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_of_the_stock_plugin_is_restored_by_what_velero_kept() {
    let spec = restore(stock(), &[], &request("StandardSSD_LRS", "westeurope-2"))
        .await
        .unwrap();
    assert_eq!(spec.properties.sku, Sku::new("StandardSSD_LRS"));
    assert_eq!(spec.properties.zones, ["2"]);
    assert_eq!(spec.id.group, group());
    assert!(spec.id.name.starts_with("restore-") && spec.id.name.len() <= 80);
    assert_eq!(spec.tags["team"], "a");
    assert!(!spec.tags.contains_key("velero.io-backup"));
}

#[tokio::test(start_paused = true)]
async fn a_disk_comes_back_as_it_was() {
    let was = DiskProperties {
        zones: vec!["3".to_owned()],
        tier: Some("P30".to_owned()),
        bursting: Some(true),
        iops_read_write: Some(5000),
        mbps_read_write: Some(200),
        max_shares: Some(2),
        network_access_policy: Some("AllowPrivate".to_owned()),
        disk_access: Some("/subscriptions/s/x".to_owned()),
        public_network_access: Some("Disabled".to_owned()),
        encryption: Some(Encryption {
            kind: None,
            set: Some("/set".repeat(90)),
        }),
        ..properties("Premium_LRS")
    };
    let spec = restore(
        ours(was.clone()),
        &[],
        &request("Standard_LRS", "westeurope-3"),
    )
    .await
    .unwrap();
    let expected = DiskProperties {
        iops_read_write: None,
        mbps_read_write: None,
        ..was
    };
    assert_eq!(
        spec.properties, expected,
        "the record counts, and IOPS follow from the tier"
    );
    assert_eq!(spec.tags["stillpoint-from-consistency"], "filesystem");
}

#[tokio::test(start_paused = true)]
async fn provisioned_speed_comes_back() {
    let was = DiskProperties {
        iops_read_write: Some(12_000),
        mbps_read_write: Some(400),
        logical_sector_size: Some(4096),
        ..properties("PremiumV2_LRS")
    };
    let spec = restore(ours(was.clone()), &[], &request("", "westeurope-1"))
        .await
        .unwrap();
    assert_eq!(spec.properties, was);

    let kept = Request {
        iops: Some(7000),
        ..request("UltraSSD_LRS", "westeurope-1")
    };
    let spec = restore(stock(), &[], &kept).await.unwrap();
    assert_eq!(spec.properties.iops_read_write, Some(7000));
    let kept = Request {
        iops: Some(7000),
        ..request("Premium_LRS", "westeurope-1")
    };
    assert_eq!(
        restore(stock(), &[], &kept)
            .await
            .unwrap()
            .properties
            .iops_read_write,
        None
    );
}

#[tokio::test(start_paused = true)]
async fn a_mapped_sku_keeps_what_it_can() {
    let was = DiskProperties {
        tier: Some("P30".to_owned()),
        bursting: Some(true),
        performance_plus: Some(true),
        iops_read_write: Some(5000),
        mbps_read_write: Some(200),
        ..properties("Premium_LRS")
    };
    let mapping = [("skuMapping", "Premium_LRS=PremiumV2_LRS")];
    let spec = restore(ours(was.clone()), &mapping, &request("", "westeurope-1"))
        .await
        .unwrap();
    let expected = DiskProperties {
        iops_read_write: Some(5000),
        mbps_read_write: Some(200),
        logical_sector_size: Some(512),
        ..properties("PremiumV2_LRS")
    };
    assert_eq!(spec.properties, expected);

    let mapping = [("skuMapping", "Premium_LRS=Premium_ZRS")];
    let spec = restore(ours(was.clone()), &mapping, &request("", "westeurope-1"))
        .await
        .unwrap();
    assert_eq!(
        (spec.properties.zones.len(), spec.properties.tier.as_deref()),
        (0, Some("P30"))
    );

    let mapping = [("skuMapping", "Premium_LRS=StandardSSD_LRS")];
    let spec = restore(ours(was), &mapping, &request("", "westeurope-1"))
        .await
        .unwrap();
    assert_eq!(
        (spec.properties.tier, spec.properties.bursting),
        (None, None)
    );
    assert_eq!(spec.properties.performance_plus, Some(true));
}

#[tokio::test(start_paused = true)]
async fn large_sectors_stay_where_they_can_be() {
    let large = || Snapshot {
        logical_sector_size: Some(4096),
        completion_percent: Some(100.0),
        ..ours(properties("UltraSSD_LRS"))
    };
    let spec = restore(large(), &[], &request("", "westeurope-1"))
        .await
        .unwrap();
    assert_eq!(spec.properties.logical_sector_size, Some(4096));
    let mapping = [("skuMapping", "UltraSSD_LRS=Premium_LRS")];
    let error = restore(large(), &mapping, &request("", "westeurope-1"))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("4096 bytes"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn the_target_group_and_zone_are_the_locations() {
    let config = [
        (
            "targetSubscriptionId",
            "11111111-2222-3333-4444-555555555555",
        ),
        ("targetResourceGroup", "restored"),
        ("zoneMapping", "westeurope-1=westeurope-3"),
    ];
    let spec = restore(stock(), &config, &request("Premium_LRS", "westeurope-1"))
        .await
        .unwrap();
    assert_eq!(spec.id.group.name, "restored");
    assert_eq!(spec.properties.zones, ["3"]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_restored_is_told_and_nothing_is_made() {
    let pending = |mut snapshot: Snapshot| {
        snapshot
            .tags
            .insert("stillpoint-state".to_owned(), "pending".to_owned());
        snapshot
    };
    let edited = |mut snapshot: Snapshot| {
        snapshot
            .tags
            .insert("stillpoint-disk-iops".to_owned(), "x".to_owned());
        snapshot
    };
    let state = |state| Snapshot { state, ..stock() };
    let sound = || ours(properties("Premium_LRS"));
    for (snapshot, request, part) in [
        (
            pending(sound()),
            request("", "westeurope-1"),
            "marked pending",
        ),
        (
            edited(sound()),
            request("", "westeurope-1"),
            "`stillpoint-disk-iops` is `x`",
        ),
        (
            state(ProvisioningState::Failed("Failed".to_owned())),
            request("A_LRS", ""),
            "it is Failed",
        ),
        (
            state(ProvisioningState::Running("Creating".to_owned())),
            request("A_LRS", ""),
            "Creating",
        ),
        (
            stock(),
            request("", "westeurope-1"),
            "does not say which SKU",
        ),
        (
            stock(),
            request("Premium_LRS", "eastus-1"),
            "copy the snapshot",
        ),
        (stock(), request("Premium_LRS", "somewhere"), "`somewhere`"),
        (
            stock(),
            Request {
                snapshot: "snap".to_owned(),
                ..request("A_LRS", "")
            },
            "`snap`",
        ),
        (
            stock(),
            Request {
                snapshot: stock().id.to_string() + "x",
                ..request("A_LRS", "")
            },
            "does not exist",
        ),
    ] {
        let world = world(snapshot);
        let restored = site(&world, &[])
            .restore(&request, &CancellationToken::new())
            .await;
        let error = restored.unwrap_err().to_string();
        assert!(error.contains(part), "{part} is missing in: {error}");
        assert_eq!(world.calls("create"), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn an_unfinished_copy_is_awaited() {
    let v2 = || Snapshot {
        completion_percent: Some(20.0),
        ..ours(properties("PremiumV2_LRS"))
    };
    let world = world(v2());
    world.lock().copies = Some(Ok(Duration::from_secs(4000)));
    let start = tokio::time::Instant::now();
    let request = request("", "westeurope-1");
    site(&world, &[])
        .restore(&request, &CancellationToken::new())
        .await
        .unwrap();
    assert!(start.elapsed() > Duration::from_secs(4000));

    world.lock().snapshots.insert(v2().id, v2());
    world.lock().copies = Some(Err(fake::failed("copy")));
    let failed = site(&world, &[])
        .restore(&request, &CancellationToken::new())
        .await;
    assert!(failed.unwrap_err().to_string().contains("ended as Failed"));
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_failed_or_that_nobody_waits_for_is_deleted() {
    let request = request("Premium_LRS", "westeurope-1");
    let world = world(stock());
    world.lock().create_fails = Some(fake::failed("disk"));
    let failed = site(&world, &[])
        .restore(&request, &CancellationToken::new())
        .await
        .unwrap_err();
    assert!(
        failed.is_retryable() && failed.to_string().contains("ended as Failed"),
        "{failed}"
    );
    assert!(world.lock().disks.is_empty());

    world.lock().create_fails = None;
    let cancel = CancellationToken::new();
    cancel.cancel();
    let cancelled = site(&world, &[])
        .restore(&request, &cancel)
        .await
        .unwrap_err();
    assert!(matches!(cancelled, RestoreError::Cancelled { .. }));
    assert!(world.lock().disks.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_process_that_did_not_make_the_disk_knows_as_much() {
    let world = world(ours(properties("Premium_LRS")));
    let first = site(&world, &[]);
    let request = request("", "westeurope-1");
    let disk = first
        .restore(&request, &CancellationToken::new())
        .await
        .unwrap();
    let reads = world.calls("disk");
    let remembered = first.restored(&disk.to_string()).await.unwrap();
    assert_eq!(world.calls("disk"), reads);
    let asked = site(&world, &[])
        .restored(&disk.to_string().to_lowercase())
        .await
        .unwrap();
    assert_eq!(remembered, asked);
    assert_eq!(asked.zone.unwrap().to_string(), "westeurope-1");
    assert_eq!(
        asked.origin.unwrap().consistency,
        Some(Consistency::Filesystem)
    );

    let pv = serde_json::json!({
        "metadata": { "name": "pv" },
        "spec": { "csi": { "driver": "disk.csi.azure.com", "volumeHandle": "x" } },
    });
    let pv = first.set_volume(pv, &disk.to_string()).await.unwrap();
    assert_eq!(pv["spec"]["csi"]["volumeHandle"], disk.to_string());
    assert_eq!(
        pv["metadata"]["annotations"]["stillpoint.io/consistency"],
        "filesystem"
    );
}
