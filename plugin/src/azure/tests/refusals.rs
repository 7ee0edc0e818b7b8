use std::time::Duration;

use stillpoint_lab::{Action, settings};

use super::{
    Bench, bench,
    cut::snapshot,
    faults::{DISK, SNAPSHOT, restored, throttled},
    status,
};
use crate::{
    model::SnapshotId,
    ports::{Azure, AzureError},
};

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
