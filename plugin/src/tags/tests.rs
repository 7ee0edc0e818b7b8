use proptest::prelude::*;

use super::*;
use crate::model::{DiskId, Encryption, ProvisioningState, ResourceGroup, Sku};

fn tags(pairs: &[(&str, &str)]) -> Tags {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn group() -> ResourceGroup {
    ResourceGroup {
        subscription: "s".to_owned(),
        name: "rg".to_owned(),
    }
}

fn properties() -> DiskProperties {
    DiskProperties {
        sku: Sku::new("Premium_LRS"),
        zones: vec![],
        tier: None,
        bursting: None,
        iops_read_write: None,
        mbps_read_write: None,
        iops_read_only: None,
        mbps_read_only: None,
        max_shares: None,
        optimized_for_frequent_attach: None,
        performance_plus: None,
        logical_sector_size: None,
        network_access_policy: None,
        disk_access: None,
        public_network_access: None,
        data_access_auth_mode: None,
        encryption: None,
    }
}

fn disk(properties: DiskProperties, tags: Tags) -> Disk {
    Disk {
        id: DiskId::new(group(), "data"),
        unique_id: "u".to_owned(),
        location: "westeurope".to_owned(),
        gibibytes: 4,
        attached_to: vec![],
        tags,
        properties,
    }
}

fn snapshot(tags: Tags) -> Snapshot {
    Snapshot {
        id: SnapshotId::new(group(), "data-1"),
        location: "westeurope".to_owned(),
        state: ProvisioningState::Succeeded,
        completion_percent: None,
        created: None,
        source: None,
        source_unique_id: None,
        gibibytes: None,
        logical_sector_size: None,
        incremental: true,
        tags,
    }
}

fn worth() -> Worth {
    Worth {
        consistency: Consistency::Filesystem,
        reason: "ext4 held".to_owned(),
        frozen: Duration::from_millis(1530),
    }
}

#[test]
fn a_pending_snapshot_understates_itself() {
    let (disk, none) = (disk(properties(), Tags::new()), Tags::new());
    let sources = Sources {
        hold: "h1",
        disk: &disk,
        backup: &none,
        backup_uid: Some("u1"),
        home: None,
        location: &none,
    };
    let until = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let pending = sources.pending(until);
    assert_eq!(pending["stillpoint-consistency"], "crash");
    assert_eq!(pending["stillpoint-state"], "pending");
    let marks = Marks::read(&pending);
    assert!(marks.pending);
    assert_eq!(marks.pending_until, Some(until));
    assert_eq!(marks.hold.as_deref(), Some("h1"));

    let complete = sources.complete(&worth());
    let marks = Marks::read(&complete);
    assert!(!marks.pending);
    assert_eq!(marks.backup_uid.as_deref(), Some("u1"));
    assert_eq!(marks.worth, Some(worth()));
    assert_eq!(complete["stillpoint-frozen-ms"], "1530");
    assert!(!complete.contains_key("stillpoint-pending-until"));
}

#[test]
fn the_backups_tags_stay_and_only_the_disks_go_on() {
    let disk = disk(
        properties(),
        tags(&[
            ("app", "shop"),
            ("Env", "prod"),
            ("team", "a"),
            ("velero.io-backup", "an older one"),
            ("stillpoint-consistency", "filesystem"),
            ("stillpoint-from-snapshot", "/x"),
            ("kubernetes.io-created-for-pvc-name", "claim"),
            ("k8s-azure-created-by", "kubernetes-azure-dd"),
        ]),
    );
    let backup = tags(&[
        ("velero.io/backup", "b1"),
        ("velero.io/pv", "pv1"),
        ("app", "velero"),
    ]);
    let location = tags(&[("env", "backup"), ("cost", "7")]);
    let sources = Sources {
        hold: "h1",
        disk: &disk,
        backup: &backup,
        backup_uid: None,
        home: None,
        location: &location,
    };
    let taken = sources.complete(&worth());
    for (key, value) in [
        ("velero.io-backup", "b1"),
        ("velero.io-pv", "pv1"),
        ("app", "velero"),
        ("env", "backup"),
        ("cost", "7"),
        ("team", "a"),
        ("kubernetes.io-created-for-pvc-name", "claim"),
        ("stillpoint-disk-tag-app", "shop"),
    ] {
        assert_eq!(taken.get(key).map(String::as_str), Some(value), "{key}");
    }
    assert!(!taken.contains_key("stillpoint-from-snapshot"));

    let restored = of_restored_disk(&snapshot(taken));
    let id = snapshot(Tags::new()).id.to_string();
    assert_eq!(
        restored,
        tags(&[
            ("app", "shop"),
            ("Env", "prod"),
            ("team", "a"),
            ("stillpoint-from-snapshot", &id),
            ("stillpoint-from-consistency", "filesystem"),
            ("stillpoint-from-reason", "ext4 held"),
        ])
    );
    let origin = Origin::read(&restored).unwrap();
    assert_eq!(origin.consistency, Some(Consistency::Filesystem));
    assert_eq!(origin.reason, "ext4 held");
}

#[test]
fn the_stock_plugins_snapshots_have_no_record() {
    let stock = tags(&[
        ("velero.io-backup", "b1"),
        ("team", "a"),
        ("k8s-azure-created-by", "x"),
    ]);
    assert_eq!(disk_record(&stock), Ok(None));
    assert_eq!(
        Marks::read(&stock),
        Marks {
            hold: None,
            pending: false,
            pending_until: None,
            backup_uid: None,
            worth: None
        }
    );
    let restored = of_restored_disk(&snapshot(stock));
    assert_eq!(
        restored.keys().collect::<Vec<_>>(),
        ["stillpoint-from-snapshot", "team"]
    );
}

#[test]
fn ours_and_veleros_go_before_the_disks() {
    let own: Tags = (0..50)
        .map(|n| (format!("own-{n:02}"), String::new()))
        .collect();
    let disk = disk(properties(), own);
    let backup: Tags = (0..30)
        .map(|n| (format!("label-{n:02}"), String::new()))
        .collect();
    let sources = Sources {
        hold: "h1",
        disk: &disk,
        backup: &backup,
        backup_uid: None,
        home: None,
        location: &Tags::new(),
    };
    let taken = sources.complete(&worth());
    assert_eq!(taken.len(), 50);
    assert!(taken.contains_key("stillpoint-frozen-ms") && taken.contains_key("label-29"));
    assert!(
        taken.contains_key("own-00"),
        "room that is left goes to the disk"
    );
}

#[test]
fn a_changed_record_is_an_error_that_names_the_tag() {
    let changed = tags(&[
        ("stillpoint-disk-sku", "Premium_LRS"),
        ("stillpoint-disk-iops", "many"),
    ]);
    let error = disk_record(&changed).unwrap_err().to_string();
    assert!(
        error.contains("`stillpoint-disk-iops` is `many`, expected a number"),
        "{error}"
    );
}

fn any_properties() -> impl Strategy<Value = DiskProperties> {
    let long = || prop::option::of("[/A-Za-z0-9._-]{1,400}");
    let number = || prop::option::of(1i64..200_000);
    let flag = || prop::option::of(any::<bool>());
    (
        (
            prop::sample::select(vec!["Premium_LRS", "UltraSSD_LRS", "Premium_ZRS"]),
            prop::option::of("[123]"),
        ),
        (prop::option::of("P[1-8]0"), flag(), flag(), flag()),
        (number(), number(), number(), number()),
        (
            prop::option::of(1i32..6),
            prop::option::of(prop::sample::select(vec![512, 4096])),
        ),
        (
            prop::option::of("(AllowAll|DenyAll)"),
            long(),
            prop::option::of("(Enabled|Disabled)"),
        ),
        (long(), long()),
    )
        .prop_map(
            |(sku, flags, speed, shape, access, encryption)| DiskProperties {
                sku: Sku::new(sku.0),
                zones: sku.1.into_iter().collect(),
                tier: flags.0,
                bursting: flags.1,
                optimized_for_frequent_attach: flags.2,
                performance_plus: flags.3,
                iops_read_write: speed.0,
                mbps_read_write: speed.1,
                iops_read_only: speed.2,
                mbps_read_only: speed.3,
                max_shares: shape.0,
                logical_sector_size: shape.1,
                network_access_policy: access.0,
                disk_access: access.1,
                public_network_access: access.2,
                data_access_auth_mode: None,
                encryption: Some(Encryption {
                    kind: encryption.0,
                    set: encryption.1,
                }),
            },
        )
}

proptest! {
    #[test]
    fn records_round_trip(properties in any_properties(), own in prop::collection::btree_map("[A-Za-z]{1,9}", ".{0,300}", 0..60)) {
        let disk = disk(properties, own);
        let sources = Sources { hold: "h1", disk: &disk, backup: &Tags::new(), backup_uid: None, home: None, location: &Tags::new() };
        let taken = sources.complete(&worth());
        prop_assert!(taken.len() <= 50);
        prop_assert_eq!(disk_record(&taken), Ok(Some(record::without_defaults(&disk.properties))));
        prop_assert_eq!(Marks::read(&taken).worth, Some(worth()));
    }

    #[test]
    fn nothing_makes_reading_panic(read in prop::collection::btree_map("(stillpoint-[a-z-]{0,20}|.{0,20})", ".{0,40}", 0..20)) {
        let _ = (Marks::read(&read), disk_record(&read), Origin::read(&read), of_restored_disk(&snapshot(read)));
    }
}
