//! Restores and deletes that Azure, the network or the host gets in the way of.

use std::time::Duration;

use serde_json::json;
use stillpoint_lab::{Action, Fault, Sku};
use stillpoint_system::cloud::{Cloud, until};

fn fault(method: &str, path: &str, action: Action) -> Fault {
    Fault {
        method: Some(method.into()),
        path: path.into(),
        skip: 0,
        times: 1,
        action,
    }
}

fn status(status: u16) -> Action {
    Action::Status {
        status,
        code: None,
        message: None,
        retry_after: Some("0".into()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_becomes_of_the_answer_there_is_one_disk() {
    let Some(cloud) = Cloud::start().await.unwrap() else {
        return;
    };
    let plugin = cloud.plugin().await.unwrap();
    let snapshotter = cloud.snapshotter(&plugin, &[]).await.unwrap();
    let snapshot = cloud
        .snapshot_of_lost(&snapshotter, &cloud.premium("d"))
        .await
        .unwrap();
    for (method, action) in [
        ("PUT", Action::CloseAfter),
        ("PUT", Action::CloseBefore),
        ("PUT", Action::Truncate),
        ("PUT", status(429)),
        ("PUT", status(500)),
        ("PUT", status(503)),
        ("GET", status(429)),
        ("GET", Action::CloseAfter),
    ] {
        let case = format!("{method} {action}");
        cloud.lab.inject(fault(method, "**/disk*/*", action));
        let made = snapshotter
            .create_volume(&snapshot, "", "westeurope-1", None)
            .await;
        let made = made.expect(&case);
        let disks = cloud.lab.disks();
        assert_eq!(disks, [made.parse().unwrap()], "{case}");
        assert_eq!(cloud.lab.faults(), [], "{case}: it was never met");
        cloud.lab.delete_disk(&disks[0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_cannot_be_made_leaves_nothing_and_is_told() {
    let Some(cloud) = Cloud::start().await.unwrap() else {
        return;
    };
    let plugin = cloud.plugin().await.unwrap();
    let snapshotter = cloud.snapshotter(&plugin, &[]).await.unwrap();
    let snapshot = cloud
        .snapshot_of_lost(&snapshotter, &cloud.premium("d"))
        .await
        .unwrap();
    let failed = Action::FailOperation {
        code: "AllocationFailed".into(),
        message: "No room in zone 1.".into(),
    };
    let denied = |action: &str| Action::Deny {
        action: action.into(),
    };
    let quota = Action::Status {
        status: 409,
        code: Some("OperationNotAllowed".into()),
        message: Some(
            "The operation could not be completed as it exceeds the quota of 100.".into(),
        ),
        retry_after: None,
    };
    for (action, told) in [
        (failed, &["AllocationFailed", "No room in zone 1."][..]),
        (
            denied("Microsoft.Compute/disks/beginGetAccess/action"),
            &["grant", "Microsoft.Compute/disks/beginGetAccess/action"],
        ),
        (
            denied("Microsoft.Compute/disks/write"),
            &["grant", "Microsoft.Compute/disks/write"],
        ),
        (quota, &["quota"]),
    ] {
        cloud.lab.inject(fault("PUT", "**/disks/*", action));
        let error = snapshotter
            .create_volume(&snapshot, "", "westeurope-1", None)
            .await
            .unwrap_err();
        for part in told {
            assert!(error.message().contains(part), "{part} in {error}");
        }
        assert_eq!(cloud.lab.disks(), [], "{error}");
        assert_eq!(cloud.lab.faults(), [], "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_nobody_waits_for_any_more_leaves_no_disk() {
    let Some(cloud) = Cloud::start().await.unwrap() else {
        return;
    };
    let plugin = cloud.plugin().await.unwrap();
    let snapshotter = cloud.snapshotter(&plugin, &[]).await.unwrap();
    let snapshot = cloud
        .snapshot_of_lost(&snapshotter, &cloud.premium("d"))
        .await
        .unwrap();
    let period = Duration::from_millis(300);
    cloud
        .lab
        .inject(fault("PUT", "**/disks/*", Action::Stay { period }));
    let call = tokio::spawn({
        let snapshotter = snapshotter.clone();
        async move { snapshotter.create_volume(&snapshot, "", "", None).await }
    });
    until(|| (cloud.lab.disks().len() == 1).then_some(()))
        .await
        .unwrap();
    call.abort();
    until(|| cloud.lab.disks().is_empty().then_some(()))
        .await
        .unwrap();
    let deletes = cloud.requests()["DELETE disks"];
    assert!(deletes >= 1, "{:?}", cloud.requests());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_never_was_finished_is_refused() {
    let Some(cloud) = Cloud::start().await.unwrap() else {
        return;
    };
    let plugin = cloud.plugin().await.unwrap();
    let snapshotter = cloud.snapshotter(&plugin, &[]).await.unwrap();
    let disk = cloud.lab.create_disk(&cloud.premium("d")).unwrap();
    let failed = Action::FailOperation {
        code: "InternalExecutionError".into(),
        message: "x".into(),
    };
    cloud.lab.inject(fault("PUT", "**/snapshots/*", failed));
    let failed = cloud.stock_snapshot("failed", &disk).await.unwrap();
    let pending = cloud.lab.snapshot_id("pending");
    let body = json!({
        "location": "westeurope",
        "tags": {"stillpoint-state": "pending", "stillpoint-disk-sku": "Premium_LRS"},
        "properties": {"creationData": {"createOption": "Copy", "sourceResourceId": disk.to_string()}},
    });
    let (status, _) = cloud.put(&pending, &body).await.unwrap();
    assert_eq!(status, 202);
    until(|| cloud.lab.snapshot(&pending)?.succeeded)
        .await
        .unwrap();
    let period = Duration::from_secs(600);
    cloud
        .lab
        .inject(fault("PUT", "**/snapshots/*", Action::Stay { period }));
    let running = cloud.lab.snapshot_id("running");
    cloud.put(&running, &body).await.unwrap();
    let missing = cloud.lab.snapshot_id("missing");
    for (snapshot, told) in [
        (&failed, &["Failed", "choose another backup"][..]),
        (&pending, &["pending", "choose another backup"]),
        (&running, &["choose another backup"]),
        (&missing, &["ResourceNotFound"]),
    ] {
        let error = snapshotter
            .create_volume(&snapshot.to_string(), "Premium_LRS", "westeurope-1", None)
            .await
            .unwrap_err();
        for part in told.iter().chain([&&*snapshot.name]) {
            assert!(error.message().contains(part), "{part} in {error}");
        }
    }
    assert_eq!(cloud.lab.disks(), [disk]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_waits_for_the_snapshots_background_copy() {
    let Some(cloud) = Cloud::start().await.unwrap() else {
        return;
    };
    cloud
        .lab
        .change_settings(|settings| settings.snapshot.copy = Duration::from_millis(700));
    let plugin = cloud.plugin().await.unwrap();
    let snapshotter = cloud
        .snapshotter(&plugin, &[("copyTimeout", "0s")])
        .await
        .unwrap();
    for sku in [Sku::PremiumV2Lrs, Sku::UltraSsdLrs] {
        let disk = cloud.disk(sku.name(), sku, 8, json!({}));
        let id = cloud.lab.create_disk(&disk).unwrap();
        let snapshot = snapshotter
            .create_snapshot(&id.to_string(), "westeurope-1", &[])
            .await
            .unwrap();
        let seen = || cloud.lab.snapshot(&snapshot.parse().unwrap()).unwrap();
        assert!(seen().completion_percent < 100.0, "the backup went on");
        let made = snapshotter
            .create_volume(&snapshot, "", "westeurope-1", None)
            .await;
        assert!(made.is_ok(), "{sku}: {made:?}");
        assert!(seen().completion_percent >= 100.0, "{sku}");
    }
    let refused = cloud.lab.requests().into_iter().filter(|request| {
        request.method == "PUT" && request.path.contains("/disks/") && request.status != Some(202)
    });
    assert_eq!(refused.count(), 0, "it asked before the copy was complete");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_gone_is_deleted_and_what_cannot_be_is_told() {
    let Some(cloud) = Cloud::start().await.unwrap() else {
        return;
    };
    let plugin = cloud.plugin().await.unwrap();
    let snapshotter = cloud.snapshotter(&plugin, &[]).await.unwrap();
    let disk = cloud.lab.create_disk(&cloud.premium("d")).unwrap();
    let take = || async {
        let taken = snapshotter
            .create_snapshot(&disk.to_string(), "", &[])
            .await;
        taken.unwrap()
    };
    let snapshot = take().await;
    for id in [
        snapshot.clone(),
        snapshot.clone(),
        cloud.lab.snapshot_id("never").to_string(),
        snapshot.replace("Stillpoint-Lab", "no-such-group"),
    ] {
        snapshotter.delete_snapshot(&id).await.expect(&id);
    }
    assert!(cloud.lab.snapshots().is_empty());

    let snapshot = take().await;
    for action in [
        Action::CloseAfter,
        status(503),
        status(429),
        Action::CloseBefore,
    ] {
        cloud.lab.inject(fault("DELETE", "**/snapshots/*", action));
    }
    snapshotter.delete_snapshot(&snapshot).await.unwrap();
    assert!(cloud.lab.snapshots().is_empty());

    cloud.lab.clear_faults();
    let snapshot = take().await;
    let locked = Action::Status {
        status: 409,
        code: Some("ScopeLocked".into()),
        message: Some("The scope is locked.".into()),
        retry_after: None,
    };
    cloud.lab.inject(fault("DELETE", "**/snapshots/*", locked));
    let error = snapshotter.delete_snapshot(&snapshot).await.unwrap_err();
    assert!(error.message().contains("remove the lock"), "{error}");
    let failed = Action::FailOperation {
        code: "InternalExecutionError".into(),
        message: "not now".into(),
    };
    cloud.lab.inject(fault("DELETE", "**/snapshots/*", failed));
    let error = snapshotter.delete_snapshot(&snapshot).await.unwrap_err();
    assert!(error.message().contains("not now"), "{error}");
    let elsewhere = snapshot.replace(
        &cloud.lab.endpoints().subscription,
        "99999999-0000-0000-0000-000000000000",
    );
    let error = snapshotter.delete_snapshot(&elsewhere).await.unwrap_err();
    assert!(error.message().contains("99999999-0000"), "{error}");
    assert_eq!(cloud.lab.snapshots().len(), 1, "it is still there");
}
