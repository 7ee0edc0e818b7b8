use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use stillpoint_lab::settings::{self, Limits};

use super::bench;
use crate::ports::Azure;

/// Issue: 150 volumes by 50 workers under Azure's request limits: none fails, nothing is frozen meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_throttled_while_frozen_under_azure_s_limits() {
    let lab = settings::Settings {
        limits: Some(Limits::default()),
        ..settings::Settings::default()
    };
    let Some(bench) = bench(lab).await else {
        return;
    };
    let disks: Vec<_> = (0..150).map(|i| bench.disk(&format!("d{i}"))).collect();
    let (next, bench, disks) = (&AtomicUsize::new(0), &bench, &disks);
    let begun = Instant::now();
    let workers = (0..50).map(|_| async move {
        let mut frozen = Vec::new();
        while let Some((index, disk)) = {
            let index = next.fetch_add(1, Ordering::Relaxed);
            disks.get(index).map(|disk| (index, disk))
        } {
            // GetVolumeInfo and CreateSnapshot each look.
            bench.client.disk(disk).await.unwrap();
            bench.client.disk(disk).await.unwrap();
            let spec = bench.spec(&format!("s{index}"), disk);
            let permit = bench.client.reserve_cut(&spec.id.group).await.unwrap();
            let held = Instant::now();
            bench.client.cut(&permit, &spec).await.unwrap();
            bench.client.fixed(&permit, &spec.id).await.unwrap();
            let seen = Instant::now();
            let view = bench
                .lab
                .snapshot(&bench.lab.snapshot_id(&spec.id.name))
                .unwrap();
            let late = seen.saturating_duration_since(view.succeeded.unwrap().instant);
            frozen.push((held.elapsed(), late));
            drop(permit);
            bench
                .client
                .tag_snapshot(&spec.id, spec.tags.clone())
                .await
                .unwrap();
        }
        frozen
    });
    let frozen: Vec<_> = futures::future::join_all(workers)
        .await
        .into_iter()
        .flatten()
        .collect();
    let mut late: Vec<_> = frozen.iter().map(|(_, late)| *late).collect();
    late.sort_unstable();
    let mut frozen: Vec<_> = frozen.into_iter().map(|(frozen, _)| frozen).collect();
    frozen.sort_unstable();
    let throttled = bench
        .lab
        .requests()
        .iter()
        .filter(|r| r.status == Some(429))
        .count();
    eprintln!(
        "seen late p50 {:?} p99 {:?}, {} polls",
        late[75],
        late[148],
        bench.requests("GET", "/snapshots").len()
    );
    eprintln!(
        "150 by 50 workers in {:?}: frozen p50 {:?} p99 {:?} most {:?}; {} requests, {throttled} throttled",
        begun.elapsed(),
        frozen[75],
        frozen[148],
        frozen[149],
        bench.lab.requests().len(),
    );
    assert_eq!(frozen.len(), 150);
    // The default freezeTimeout: a hold that waited for the limits would be lost.
    assert!(frozen[149] < Duration::from_secs(10), "{:?}", frozen[149]);
    assert_eq!(throttled, 0);
}
