//! Request buckets.

use stillpoint_lab::{
    Settings,
    settings::{Bucket, Limits},
};

use crate::client::{Arm, lab};

#[tokio::test]
async fn empty_buckets_throttle_and_tell_how_long() {
    let slow = |capacity| Bucket {
        capacity,
        refill: 0.01,
    };
    let limits = Limits {
        reads: slow(3),
        writes: slow(2),
        deletes: slow(1),
        resource: None,
    };
    let Some(lab) = lab(Settings {
        limits: Some(limits),
        ..Settings::fast()
    })
    .await
    else {
        return;
    };
    let arm = Arm::login(&lab).await;
    let disk = lab.disk_id("d");
    for left in ["2", "1", "0"] {
        let reply = arm.get(&disk).await;
        assert_eq!(
            (
                reply.status,
                reply.header("x-ms-ratelimit-remaining-subscription-reads")
            ),
            (404, Some(left))
        );
    }
    let refused = arm.get(&disk).await;
    assert_eq!(refused.refusal(), (429, "SubscriptionRequestsThrottled"));
    let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((90..=100).contains(&seconds), "{seconds}");
    let deleted = arm.delete(&disk).await;
    assert_eq!(
        (
            deleted.status,
            deleted.header("x-ms-ratelimit-remaining-subscription-deletes")
        ),
        (204, Some("0"))
    );
    let body = serde_json::json!({"location": "westeurope", "properties": {"creationData": {"createOption": "Empty"}, "diskSizeGB": 1}});
    let written = arm.put(&disk, &body).await;
    assert_eq!(
        (
            written.status,
            written.header("x-ms-ratelimit-remaining-subscription-writes")
        ),
        (202, Some("1"))
    );

    let resource = Some(Bucket {
        capacity: 1,
        refill: 0.01,
    });
    lab.change_settings(|settings| {
        settings.limits = Some(Limits {
            resource,
            ..Limits::default()
        })
    });
    let first = arm.put(lab.disk_id("e"), &body).await;
    let left = first.header("x-ms-ratelimit-remaining-resource");
    assert_eq!(
        left,
        Some("Microsoft.Compute/HighCostSnapshotCreateHydrate3Min;0")
    );
    let second = arm.put(lab.disk_id("f"), &body).await;
    assert_eq!(second.refusal(), (429, "OperationNotAllowed"));
    assert_eq!(
        second.body["error"]["details"][0]["code"],
        "TooManyRequests"
    );

    lab.change_settings(|settings| settings.limits = None);
    let free = arm.get(&disk).await;
    assert_eq!(
        free.header("x-ms-ratelimit-remaining-subscription-reads"),
        None
    );
}
