//! What the role for snapshots grants is what is needed.

use serde_json::json;
use stillpoint_lab::{Action, Fault, Kind, ResourceId, Sku};
use stillpoint_system::{cloud::Cloud, role};

#[tokio::test(flavor = "multi_thread")]
async fn the_role_for_snapshots_has_every_action_that_is_needed_and_no_other() {
    let Some(cloud) = Cloud::start().await.unwrap() else {
        return;
    };
    let keys = ResourceId {
        kind: Kind::DiskEncryptionSet,
        ..cloud.lab.disk_id("keys")
    };
    cloud.lab.register(&keys, "westeurope");
    let encryption =
        json!({"type": "EncryptionAtRestWithCustomerKey", "diskEncryptionSetId": keys.to_string()});
    let encrypted = cloud.disk("e", Sku::PremiumLrs, 1, json!({ "encryption": encryption }));
    let plugin = cloud.plugin().await.unwrap();
    let snapshotter = cloud.snapshotter(&plugin, &[]).await.unwrap();
    let snapshot = cloud
        .snapshot_of_lost(&snapshotter, &encrypted)
        .await
        .unwrap();
    // A disk that fails is deleted again.
    cloud.lab.inject(Fault {
        method: Some("PUT".into()),
        path: "**/disks/*".into(),
        skip: 0,
        times: 1,
        action: Action::FailOperation {
            code: "AllocationFailed".into(),
            message: "No room in zone 1.".into(),
        },
    });
    let failed = snapshotter.create_volume(&snapshot, "", "", None).await;
    failed.unwrap_err();
    let made = snapshotter.create_volume(&snapshot, "", "", None).await;
    made.unwrap();
    snapshotter.delete_snapshot(&snapshot).await.unwrap();
    let used = cloud.lab.actions(&cloud.lab.identity().client_id);
    role::is_exactly("snapshots", &used).unwrap();
}
