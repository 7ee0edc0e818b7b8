use std::time::{Duration, Instant};

use stillpoint_lab::settings;

use super::{Bench, bench};
use crate::{
    model::{DiskId, ProvisioningState},
    ports::Azure,
};

/// Cuts, waits, tags; returns how late the end was seen.
pub(super) async fn snapshot(bench: &Bench, disk: &DiskId, name: &str) -> Duration {
    let mut spec = bench.spec(name, disk);
    let found = bench.client.disk(disk).await.unwrap();
    spec.access = found.properties.access();
    assert_eq!(found.id, *disk);
    let permit = bench.client.reserve_cut(&spec.id.group).await.unwrap();
    bench.client.cut(&permit, &spec).await.unwrap();
    let fixed = bench.client.fixed(&permit, &spec.id).await.unwrap();
    let seen = Instant::now();
    assert_eq!(fixed.state, ProvisioningState::Succeeded);
    drop(permit);
    let mut tags = spec.tags.clone();
    tags.insert("stillpoint-state".to_owned(), "done".to_owned());
    bench.client.tag_snapshot(&spec.id, tags).await.unwrap();
    let view = bench.lab.snapshot(&bench.lab.snapshot_id(name)).unwrap();
    assert_eq!(view.tags["stillpoint-state"], "done");
    assert!(view.incremental);
    seen.saturating_duration_since(view.succeeded.unwrap().instant)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_cut_is_seen_with_few_requests() {
    let Some(bench) = bench(settings::Settings::default()).await else {
        return;
    };
    let disk = bench.disk("d");
    let mut late = Vec::new();
    for index in 0..5 {
        late.push(snapshot(&bench, &disk, &format!("s{index}")).await);
    }
    eprintln!("seen late by {late:?}");
    let all = bench.lab.requests().len();
    let polls = bench.requests("GET", "/snapshots").len();
    eprintln!("{all} requests for 5 snapshots, {polls} of them polls");
    assert_eq!(bench.requests("POST", "/oauth2/").len(), 1, "one login");
    assert!(
        all - polls <= 1 + 1 + 5 * 4,
        "{all} requests, {polls} polls"
    );
    assert!(polls < 5 * 45, "{polls} polls");
    for request in bench.lab.requests() {
        assert!(
            request.ignored.is_empty(),
            "Azure would ignore {:?}",
            request.ignored
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_cuts_at_once_share_their_polls() {
    let Some(bench) = bench(settings::Settings::default()).await else {
        return;
    };
    let disks: Vec<_> = (0..24).map(|i| bench.disk(&format!("d{i}"))).collect();
    let begun = Instant::now();
    let bench = &bench;
    let late = futures::future::join_all(disks.chunks(3).enumerate().map(
        |(worker, disks)| async move {
            let mut late = Vec::new();
            for (index, disk) in disks.iter().enumerate() {
                late.push(snapshot(bench, disk, &format!("s{worker}-{index}")).await);
            }
            late
        },
    ))
    .await;
    let mut late: Vec<_> = late.into_iter().flatten().collect();
    late.sort_unstable();
    let took = begun.elapsed();
    let polls = bench.requests("GET", "/snapshots").len();
    eprintln!(
        "24 by 8 workers in {took:?}, late p50 {:?} most {:?}, {polls} polls",
        late[12], late[23]
    );
    assert!(polls < 24 * 20, "{polls} polls");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_of_many_pages_is_not_listed_for_few() {
    let lab = settings::Settings {
        page_size: 3,
        ..settings::Settings::fast()
    };
    let Some(bench) = bench(lab).await else {
        return;
    };
    let disks: Vec<_> = (0..12).map(|i| bench.disk(&format!("d{i}"))).collect();
    for (index, disk) in disks.iter().enumerate() {
        snapshot(&bench, disk, &format!("old{index}")).await;
    }
    let all = bench.client.snapshots(&bench.group()).await.unwrap();
    assert_eq!(all.len(), 12, "every page is read");
    let bench = &bench;
    let runs = disks.iter().enumerate().take(6);
    futures::future::join_all(
        runs.map(
            |(index, disk)| async move { snapshot(bench, disk, &format!("new{index}")).await },
        ),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiter_that_goes_away_ends_the_polls() {
    let Some(bench) = bench(settings::Settings::default()).await else {
        return;
    };
    let disk = bench.disk("d");
    let spec = bench.spec("s", &disk);
    let permit = bench.client.reserve_cut(&spec.id.group).await.unwrap();
    bench.client.cut(&permit, &spec).await.unwrap();
    let wait = bench.client.fixed(&permit, &spec.id);
    assert!(
        tokio::time::timeout(Duration::from_millis(300), wait)
            .await
            .is_err()
    );
    tokio::time::sleep(Duration::from_millis(300)).await;
    let before = bench.requests("GET", "/snapshots").len();
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(bench.requests("GET", "/snapshots").len(), before);
}
