use std::collections::BTreeMap;

use stillpoint_lab::{NewDisk, Sku as LabSku, settings};

use super::{bench, cut::snapshot};
use crate::{
    model::{DiskId, DiskSpec, Sku, SnapshotId},
    ports::{Azure, AzureError},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_comes_back_as_it_was() {
    let Some(bench) = bench(settings::Settings::fast()).await else {
        return;
    };
    let properties = |json: serde_json::Value| json.as_object().unwrap().clone();
    for (name, sku, zone, gib, more) in [
        (
            "premium",
            LabSku::PremiumLrs,
            Some("2"),
            1024,
            serde_json::json!({"tier": "P40", "burstingEnabled": true}),
        ),
        (
            "v2",
            LabSku::PremiumV2Lrs,
            Some("1"),
            8,
            serde_json::json!({"diskIOPSReadWrite": 3500, "diskMBpsReadWrite": 200}),
        ),
        (
            "zrs",
            LabSku::PremiumZrs,
            None,
            4,
            serde_json::json!({"maxShares": 2}),
        ),
        (
            "private",
            LabSku::StandardSsdLrs,
            None,
            4,
            serde_json::json!({"networkAccessPolicy": "DenyAll", "publicNetworkAccess": "Disabled"}),
        ),
    ] {
        let id = DiskId::new(bench.group(), name);
        let new = NewDisk {
            sku,
            gib,
            zone: zone.map(str::to_owned),
            tags: BTreeMap::from([("owner".to_owned(), "me".to_owned())]),
            properties: properties(more),
            ..NewDisk::new(bench.lab.disk_id(name))
        };
        bench.lab.create_disk(&new).unwrap();
        let source = format!("{name}-snapshot");
        snapshot(&bench, &id, &source).await;
        let source = SnapshotId::new(bench.group(), source);
        bench.client.copied(&source).await.unwrap();
        let original = bench.client.disk(&id).await.unwrap();
        let spec = DiskSpec {
            id: DiskId::new(bench.group(), format!("{name}-restored")),
            location: original.location.clone(),
            source,
            gibibytes: None,
            properties: original.properties.clone(),
            tags: original.tags.clone(),
        };
        let made = bench.client.create_disk(&spec).await.unwrap();
        let restored = bench.client.disk(&made).await.unwrap();
        assert_eq!(restored.properties, original.properties, "{name}");
        assert_eq!(restored.tags, original.tags, "{name}");
        assert_eq!(restored.gibibytes, original.gibibytes, "{name}");
        bench.client.delete_disk(&made).await.unwrap();
        bench.client.delete_disk(&made).await.unwrap();
        assert!(matches!(
            bench.client.disk(&made).await,
            Err(AzureError::NotFound { .. })
        ));
    }
    for request in bench.lab.requests() {
        assert!(
            request.ignored.is_empty(),
            "Azure would ignore {:?}",
            request.ignored
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_sku_cannot_have_is_left_out() {
    let Some(bench) = bench(settings::Settings::fast()).await else {
        return;
    };
    let disk = bench.disk("d");
    snapshot(&bench, &disk, "s").await;
    let mut properties = bench.client.disk(&disk).await.unwrap().properties;
    properties.sku = Sku::new("standardssd_zrs");
    properties.tier = Some("P10".to_owned());
    properties.zones = vec!["1".to_owned()];
    properties.iops_read_write = Some(5000);
    properties.logical_sector_size = Some(4096);
    let spec = DiskSpec {
        id: DiskId::new(bench.group(), "mapped"),
        location: "westeurope".to_owned(),
        source: SnapshotId::new(bench.group(), "s"),
        gibibytes: Some(2),
        properties,
        tags: BTreeMap::new(),
    };
    let made = bench.client.create_disk(&spec).await.unwrap();
    let made = bench.client.disk(&made).await.unwrap();
    assert!(made.properties.zones.is_empty());
    assert_eq!(
        (made.gibibytes, made.properties.sku),
        (2, Sku::new("StandardSSD_ZRS"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn attachments_are_told() {
    let Some(bench) = bench(settings::Settings::fast()).await else {
        return;
    };
    let disk = bench.disk("d");
    assert!(
        bench
            .client
            .disk(&disk)
            .await
            .unwrap()
            .attached_to
            .is_empty()
    );
    let group = bench.group();
    let machine = format!("{group}/providers/Microsoft.Compute/virtualMachines/vm")
        .parse()
        .unwrap();
    bench
        .lab
        .attach(&bench.lab.disk_id("d"), Some(machine))
        .unwrap();
    let upper: DiskId = disk.to_string().to_uppercase().parse().unwrap();
    assert_eq!(
        bench.client.disk(&upper).await.unwrap().attached_to.len(),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn deletes_of_what_is_gone_succeed() {
    let Some(bench) = bench(settings::Settings::fast()).await else {
        return;
    };
    let disk = bench.disk("d");
    snapshot(&bench, &disk, "s").await;
    let id = SnapshotId::new(bench.group(), "s");
    bench.client.delete_snapshot(&id).await.unwrap();
    assert!(bench.lab.snapshots().is_empty());
    bench.client.delete_snapshot(&id).await.unwrap();
    let mut elsewhere = id.clone();
    elsewhere.group.name = "no-such-group".to_owned();
    bench.client.delete_snapshot(&elsewhere).await.unwrap();
    let mut abroad = id.clone();
    abroad.group.subscription = "11111111-1111-1111-1111-111111111111".to_owned();
    let refused = bench.client.delete_snapshot(&abroad).await;
    assert!(refused.is_err(), "an unknown subscription proves nothing");
}
