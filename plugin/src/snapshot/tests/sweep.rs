//! What killed processes left.

use std::{
    collections::{HashMap, HashSet},
    time::SystemTime,
};

use async_trait::async_trait;

use super::*;
use crate::ports::Backups;

/// Velero, and what it has on record of the backups that lost snapshots.
struct Velero(HashMap<String, HashSet<SnapshotId>>);

#[async_trait]
impl Backups for Velero {
    async fn uid(&self, name: &str) -> Option<String> {
        Some(format!("uid of {name}"))
    }

    async fn on_record(
        &self,
        backups: &HashSet<String>,
    ) -> std::result::Result<HashMap<String, HashSet<SnapshotId>>, String> {
        assert_eq!(*backups, HashSet::from(["uid of b1".to_owned()]));
        Ok(self.0.clone())
    }
}

#[tokio::test(start_paused = true)]
async fn snapshots_that_a_backup_has_lost_are_swept() {
    let world = World::with([disk("data"), disk("other")]);
    let with = |velero: HashMap<String, HashSet<SnapshotId>>| Snapshots {
        backups: Some(Arc::new(Velero(velero))),
        ..site(&world, &[])
    };
    let site = with(HashMap::new());
    let cancel = CancellationToken::new();
    let one = site.take(volume("data"), Auto, &cancel).await.unwrap();
    let two = site.take(volume("other"), Auto, &cancel).await.unwrap();
    let (one, two) = (one.snapshot, two.snapshot);
    let now = SystemTime::now();
    let of = |uid: &str, known: &[&SnapshotId]| {
        let known = known.iter().map(|id| (*id).clone()).collect();
        HashMap::from([(uid.to_owned(), known)])
    };
    for (velero, left) in [
        (HashMap::new(), vec![&one, &two]),
        (of("uid of another", &[]), vec![&one, &two]),
        (of("b1", &[]), vec![&one, &two]),
        (of("uid of b1", &[&one, &two]), vec![&one, &two]),
        (of("uid of b1", &[&one]), vec![&one]),
        (of("uid of b1", &[]), vec![]),
    ] {
        with(velero.clone()).sweep(now).await.unwrap();
        let there: HashSet<_> = world.lock().snapshots.keys().cloned().collect();
        let left = left.into_iter().cloned().collect();
        assert_eq!(there, left, "{velero:?}");
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
