//! Several volumes under one hold.

use super::*;

#[tokio::test(start_paused = true)]
async fn volumes_taken_together_share_one_hold() {
    let world = World::with([disk("a"), disk("b"), disk("c")]);
    refuse(&world, "c", false);
    let site = site(&world, &[]);
    let volumes = ["a", "nowhere", "b", "c"].map(volume).to_vec();
    let mut taken = site
        .take_together(volumes, Auto, &CancellationToken::new())
        .await;
    let consistencies: Vec<_> = taken
        .iter()
        .map(|one| one.as_ref().ok().map(|one| one.worth.consistency))
        .collect();
    use Consistency::{Crash, Filesystem};
    assert_eq!(
        consistencies,
        [Some(Filesystem), None, Some(Filesystem), Some(Crash)]
    );
    assert_eq!(world.node.lock().unwrap().holds, 1);
    let error = taken.remove(1).unwrap_err().to_string();
    assert!(error.contains("nowhere does not exist"), "{error}");
    let ids: Vec<_> = taken.into_iter().map(|one| one.unwrap().snapshot).collect();
    world.assert_clean(&ids);
}

#[tokio::test(start_paused = true)]
async fn one_throttled_volume_starts_all_of_a_set_again() {
    let world = World::with([disk("a"), disk("b")]);
    world
        .lock()
        .puts
        .extend([Put::Slow(FIXING), Put::Throttled(None)]);
    let site = site(&world, &[]);
    let volumes = ["a", "b"].map(volume).to_vec();
    let taken = site
        .take_together(volumes, Required, &CancellationToken::new())
        .await;
    let ids: Vec<_> = taken.into_iter().map(|one| one.unwrap().snapshot).collect();
    world.assert_clean(&ids);
    assert_eq!(world.calls("cut"), 4);
    let hold = |id: &SnapshotId| world.lock().snapshots[id].tags["stillpoint-hold"].clone();
    let holds: std::collections::BTreeSet<_> = ids.iter().map(hold).collect();
    assert_eq!(holds.len(), 1, "of one instant");
}

#[tokio::test(start_paused = true)]
async fn disks_of_one_name_have_snapshots_of_their_own() {
    let mut other = disk("data");
    other.id.group.name = "another".to_owned();
    let volumes = [volume("data"), volume(&other.id)].to_vec();
    let world = World::with([disk("data"), other]);
    let site = site(&world, &[]);
    let taken = site
        .take_together(volumes, Required, &CancellationToken::new())
        .await;
    let ids: Vec<_> = taken.into_iter().map(|one| one.unwrap().snapshot).collect();
    world.assert_clean(&ids);
}
