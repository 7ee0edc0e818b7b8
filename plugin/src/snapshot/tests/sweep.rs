//! What killed processes left.

use std::{collections::HashSet, time::SystemTime};

use async_trait::async_trait;

use super::*;
use crate::ports::Backups;

/// Velero, and the UIDs of the backups that it gave up.
struct Velero(Vec<&'static str>);

#[async_trait]
impl Backups for Velero {
    async fn uid(&self, name: &str) -> Option<String> {
        Some(format!("uid of {name}"))
    }

    async fn given_up(&self) -> std::result::Result<HashSet<String>, String> {
        Ok(self.0.iter().map(|uid| (*uid).to_owned()).collect())
    }
}

#[tokio::test(start_paused = true)]
async fn snapshots_of_a_backup_that_velero_gave_up_are_swept() {
    let world = World::with([disk("data")]);
    let with = |velero: Velero| Snapshots {
        backups: Some(Arc::new(velero)),
        ..site(&world, &[])
    };
    let site = with(Velero(vec![]));
    let cancel = CancellationToken::new();
    let taken = site.take(volume("data"), Auto, &cancel).await.unwrap();
    let now = SystemTime::now();
    for (given_up, expected) in [
        (vec![], 0),
        (vec!["uid of another", "b1"], 0),
        (vec!["uid of b1"], 1),
    ] {
        let site = with(Velero(given_up.clone()));
        assert_eq!(site.sweep(now).await.unwrap(), expected, "{given_up:?}");
        let there = world.lock().snapshots.contains_key(&taken.snapshot);
        assert_eq!(there, expected == 0, "{given_up:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn only_abandoned_snapshots_are_swept() {
    let hour = Duration::from_secs(3600);
    let world = World::with([disk("data"), disk("other")]);
    let kept = take(&world, Auto).await.unwrap().snapshot;
    let site = site(&world, &[]);
    // A call that was dropped, as by a kill, leaves a pending snapshot.
    let cancel = CancellationToken::new();
    let taking = site.take(volume("data"), Auto, &cancel);
    let _ = tokio::time::timeout(Duration::from_millis(700), taking).await;
    assert_eq!(world.lock().snapshots.len(), 2);
    assert_eq!(
        site.sweep(SystemTime::now() + hour / 2).await.unwrap(),
        0,
        "too young"
    );
    let copying = SystemTime::now() + hour + Duration::from_secs(60);
    assert_eq!(
        site.sweep(copying).await.unwrap(),
        0,
        "its process may still wait for its copy"
    );

    // Another with a hold that is at work in this process, however old.
    let working = site.clone();
    let task = tokio::spawn(async move {
        working
            .take(volume("other"), Auto, &CancellationToken::new())
            .await
    });
    sleep(Duration::from_millis(700)).await;
    assert_eq!(world.lock().snapshots.len(), 3);
    assert_eq!(site.sweep(SystemTime::now() + 3 * hour).await.unwrap(), 1);
    let taken = task.await.unwrap().unwrap().snapshot;
    world.assert_clean(&[kept.clone(), taken.clone()]);

    // A pending one by its tags only, as a copy into this group would be.
    let mut copy = world.lock().snapshots[&taken].clone();
    copy.id.name = "copy-of-something".to_owned();
    copy.tags
        .insert("stillpoint-state".to_owned(), "pending".to_owned());
    world.lock().snapshots.insert(copy.id.clone(), copy);
    assert_eq!(site.sweep(SystemTime::now() + 3 * hour).await.unwrap(), 0);
    assert_eq!(world.lock().snapshots.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_group_is_swept_once_a_process() {
    let process = Process::default();
    assert!(process.sweeps(&fake::group()));
    assert!(!process.sweeps(&fake::group()));
}
