use std::time::Duration;

use stillpoint_lab::{Action, settings};

use super::{Bench, bench, cut::snapshot, status};
use crate::{
    model::{DiskId, DiskSpec, SnapshotId},
    ports::{Azure, AzureError},
};

const SNAPSHOT: &str = "**/snapshots/*";
const DISK: &str = "**/disks/*";

fn throttled(retry_after: &str) -> Action {
    Action::Status {
        status: 429,
        code: None,
        message: None,
        retry_after: Some(retry_after.to_owned()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_is_sent_once_and_its_loss_is_told() {
    let Some(bench) = bench(settings::Settings::fast()).await else {
        return;
    };
    let disk = bench.disk("d");
    for (index, (action, is_there)) in [
        (status(500), false),
        (status(503), false),
        (Action::CloseBefore, false),
        (Action::CloseAfter, true),
        (Action::Truncate, true),
    ]
    .into_iter()
    .enumerate()
    {
        let spec = bench.spec(&format!("s{index}"), &disk);
        let permit = bench.client.reserve_cut(&spec.id.group).await.unwrap();
        bench.inject("PUT", SNAPSHOT, 1, action.clone());
        bench.lab.clear_requests();
        let error = bench.client.cut(&permit, &spec).await.unwrap_err();
        assert!(
            matches!(error, AzureError::Unanswered { .. }),
            "{action:?}: {error:?}"
        );
        assert_eq!(bench.requests("PUT", "/snapshots/").len(), 1, "{action:?}");
        match bench.client.snapshot(&spec.id).await {
            Ok(found) => {
                assert!(is_there, "{action:?}");
                assert_eq!(found.tags, spec.tags);
                bench.client.fixed(&permit, &spec.id).await.unwrap();
            }
            Err(error) => {
                assert!(!is_there, "{action:?}: {error}");
                assert!(matches!(error, AzureError::NotFound { .. }), "{error:?}");
            }
        }
    }
    let spec = bench.spec("throttled", &disk);
    let permit = bench.client.reserve_cut(&spec.id.group).await.unwrap();
    bench.inject("PUT", SNAPSHOT, 1, throttled("1"));
    let error = bench.client.cut(&permit, &spec).await.unwrap_err();
    drop(permit);
    let AzureError::Throttled { retry_after, .. } = error else {
        panic!("{error:?}");
    };
    assert_eq!(retry_after, Some(Duration::from_secs(1)));
    let begun = std::time::Instant::now();
    let _permit = bench.client.reserve_cut(&spec.id.group).await.unwrap();
    assert!(
        begun.elapsed() > Duration::from_millis(800),
        "the next waits as asked"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn polls_survive_whatever_happens_to_them() {
    let Some(bench) = bench(settings::Settings::fast()).await else {
        return;
    };
    let disk = bench.disk("d");
    for (index, (times, action)) in [
        (2, status(500)),
        (2, Action::CloseBefore),
        (2, Action::Truncate),
        (2, throttled("30")),
        (
            1,
            Action::Hang {
                period: Duration::from_secs(20),
            },
        ),
        (1, status(401)),
    ]
    .into_iter()
    .enumerate()
    {
        let spec = bench.spec(&format!("s{index}"), &disk);
        let permit = bench.client.reserve_cut(&spec.id.group).await.unwrap();
        bench.client.cut(&permit, &spec).await.unwrap();
        bench.inject("GET", SNAPSHOT, times, action.clone());
        let begun = std::time::Instant::now();
        let fixed = bench.client.fixed(&permit, &spec.id).await;
        assert!(fixed.is_ok(), "{action:?}: {fixed:?}");
        assert!(
            begun.elapsed() < Duration::from_secs(4),
            "{action:?} {:?}",
            begun.elapsed()
        );
        bench.lab.clear_faults();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_cut_is_told_with_azure_s_words() {
    let Some(bench) = bench(settings::Settings::fast()).await else {
        return;
    };
    let disk = bench.disk("d");
    let failing = || Action::FailOperation {
        code: "DiskServiceInternalError".to_owned(),
        message: "the disk would not stand still".to_owned(),
    };
    bench.inject("PUT", SNAPSHOT, 1, failing());
    let spec = bench.spec("s", &disk);
    let permit = bench.client.reserve_cut(&spec.id.group).await.unwrap();
    bench.client.cut(&permit, &spec).await.unwrap();
    let error = bench.client.fixed(&permit, &spec.id).await.unwrap_err();
    let AzureError::Failed { code, message, .. } = error else {
        panic!("{error:?}");
    };
    assert_eq!(
        (code.as_str(), message.as_str()),
        ("DiskServiceInternalError", "the disk would not stand still")
    );
    bench.client.delete_snapshot(&spec.id).await.unwrap();

    snapshot(&bench, &disk, "good").await;
    bench.inject("PUT", DISK, 1, failing());
    let error = bench
        .client
        .create_disk(&restored(&bench, &disk, "r").await)
        .await;
    assert!(matches!(error, Err(AzureError::Failed { .. })), "{error:?}");
    bench.inject("DELETE", SNAPSHOT, 1, failing());
    let error = bench
        .client
        .delete_snapshot(&SnapshotId::new(bench.group(), "good"))
        .await;
    assert!(matches!(error, Err(AzureError::Failed { .. })), "{error:?}");
}

async fn restored(bench: &Bench, disk: &DiskId, name: &str) -> DiskSpec {
    DiskSpec {
        id: DiskId::new(bench.group(), name),
        location: "westeurope".to_owned(),
        source: SnapshotId::new(bench.group(), "good"),
        gibibytes: None,
        properties: bench.client.disk(disk).await.unwrap().properties,
        tags: Default::default(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_leaves_one_disk_and_no_snapshot() {
    let Some(bench) = bench(settings::Settings::fast()).await else {
        return;
    };
    let disk = bench.disk("d");
    snapshot(&bench, &disk, "good").await;
    for (index, action) in [
        Action::CloseAfter,
        Action::CloseBefore,
        Action::Truncate,
        status(500),
        status(503),
        throttled("1"),
    ]
    .into_iter()
    .enumerate()
    {
        let before = bench.lab.disks().len();
        let spec = restored(&bench, &disk, &format!("r{index}")).await;
        bench.inject("PUT", DISK, 1, action.clone());
        let made = bench.client.create_disk(&spec).await;
        assert!(made.is_ok(), "{action:?}: {made:?}");
        assert_eq!(bench.lab.disks().len(), before + 1, "{action:?}");
        bench.inject("DELETE", DISK, 1, action.clone());
        let deleted = bench.client.delete_disk(&spec.id).await;
        assert!(deleted.is_ok(), "{action:?}: {deleted:?}");
        assert_eq!(bench.lab.disks().len(), before, "{action:?}");

        let name = format!("s{index}");
        snapshot(&bench, &bench.disk(&format!("d{index}")), &name).await;
        bench.inject("DELETE", SNAPSHOT, 1, action.clone());
        let id = SnapshotId::new(bench.group(), &name);
        let deleted = bench.client.delete_snapshot(&id).await;
        assert!(deleted.is_ok(), "{action:?}: {deleted:?}");
        assert_eq!(bench.lab.snapshots().len(), 1, "{action:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_else_has_under_that_name_is_not_adopted() {
    let Some(bench) = bench(settings::Settings::fast()).await else {
        return;
    };
    let disk = bench.disk("d");
    snapshot(&bench, &disk, "good").await;
    bench.disk("taken");
    bench.inject("PUT", DISK, 1, status(409));
    let made = bench
        .client
        .create_disk(&restored(&bench, &disk, "taken").await)
        .await;
    assert!(matches!(made, Err(AzureError::Conflict { .. })), "{made:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_are_tried_again_until_the_time_is_over() {
    let Some(lab) = super::start(settings::Settings::fast()).await else {
        return;
    };
    let mut location = super::location(&lab);
    location.api_timeout = Duration::from_secs(2);
    let client = super::connect(&location).unwrap();
    let bench = Bench { lab, client };
    let disk = bench.disk("d");
    for action in [
        status(500),
        Action::CloseBefore,
        throttled("1"),
        Action::Truncate,
    ] {
        bench.inject("GET", DISK, 1, action.clone());
        let read = bench.client.disk(&disk).await;
        assert!(read.is_ok(), "{action:?}: {read:?}");
    }
    bench.inject("GET", DISK, 0, status(503));
    let error = bench.client.disk(&disk).await.unwrap_err();
    assert!(matches!(error, AzureError::Unanswered { .. }), "{error:?}");
    bench.lab.clear_faults();
    bench.inject("GET", DISK, 0, throttled("60"));
    let begun = std::time::Instant::now();
    let error = bench.client.disk(&disk).await.unwrap_err();
    assert!(matches!(error, AzureError::Throttled { .. }), "{error:?}");
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "a minute does not fit into two seconds"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_permission_says_what_to_grant() {
    let Some(bench) = bench(settings::Settings::fast()).await else {
        return;
    };
    let disk = bench.disk("d");
    let deny = |action: &str| Action::Deny {
        action: action.to_owned(),
    };
    bench.inject(
        "PUT",
        SNAPSHOT,
        1,
        deny("Microsoft.Compute/disks/beginGetAccess/action"),
    );
    let spec = bench.spec("s", &disk);
    let permit = bench.client.reserve_cut(&spec.id.group).await.unwrap();
    let error = bench
        .client
        .cut(&permit, &spec)
        .await
        .unwrap_err()
        .to_string();
    for part in [
        "grant",
        "Microsoft.Compute/disks/beginGetAccess/action",
        "/disks/d",
    ] {
        assert!(error.contains(part), "{part} in {error}");
    }
    bench.inject("GET", DISK, 1, deny("Microsoft.Compute/disks/read"));
    let error = bench.client.disk(&disk).await.unwrap_err().to_string();
    assert!(
        error.contains("grant the plugin's identity Microsoft.Compute/disks/read"),
        "{error}"
    );
    // A role without this may not follow operations; the resource itself tells.
    let operations = "Microsoft.Compute/locations/DiskOperations/read";
    bench.inject("GET", "**/diskoperations/*", 0, deny(operations));
    snapshot(&bench, &disk, "good").await;
    let made = bench
        .client
        .create_disk(&restored(&bench, &disk, "r").await)
        .await;
    assert!(made.is_ok(), "{made:?}");
    bench
        .client
        .delete_snapshot(&SnapshotId::new(bench.group(), "good"))
        .await
        .unwrap();
}
