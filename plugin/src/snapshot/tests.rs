//! Every way a cut can go, each ending with: nothing frozen, nothing orphaned, and the truth told.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{
    Process, SnapshotError, Snapshots, Taken, Volume,
    fake::{self, FIXING, Put, World, disk, disk_id},
};
use crate::{
    config::{
        FreezeMode::{self, Auto, Off, Required},
        Location, Settings,
    },
    model::{Consistency, Sku, SnapshotId},
    ports::Refusal,
};

type Result<T> = std::result::Result<T, SnapshotError>;

fn site(world: &World, config: &[(&str, &str)]) -> Snapshots {
    let config: HashMap<String, String> = config
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    let location = Location::new(Settings::parse(&config).unwrap(), fake::group());
    let process = Arc::new(Process::default());
    Snapshots::new(
        Arc::new(location),
        Arc::new(world.clone()),
        Arc::new(world.clone()),
        process,
    )
}

fn volume(id: impl ToString) -> Volume {
    let tags = [("velero.io/backup".to_owned(), "b1".to_owned())].into();
    Volume {
        id: id.to_string(),
        tags,
    }
}

async fn take(world: &World, mode: FreezeMode) -> Result<Taken> {
    site(world, &[])
        .take(volume(disk_id("data")), mode, &CancellationToken::new())
        .await
}

fn refuse(world: &World, name: &str, not_mounted: bool) {
    let refusal = Refusal {
        not_mounted,
        message: "why".to_owned(),
    };
    world
        .node
        .lock()
        .unwrap()
        .refuses
        .insert(disk_id(name), refusal);
}

fn detached(name: &str) -> crate::model::Disk {
    crate::model::Disk {
        attached_to: vec![],
        ..disk(name)
    }
}

fn expect(world: &World, taken: Result<Taken>, consistency: Consistency) -> Taken {
    let taken = taken.unwrap();
    assert_eq!(
        taken.worth.consistency, consistency,
        "{}",
        taken.worth.reason
    );
    world.assert_clean(std::slice::from_ref(&taken.snapshot));
    let tags = world.lock().snapshots[&taken.snapshot].tags.clone();
    assert_eq!(tags["stillpoint-consistency"], consistency.to_string());
    assert_eq!(tags["velero.io-backup"], "b1");
    assert_eq!(
        tags["stillpoint-disk-sku"],
        world.lock().disks[&taken.disk].properties.sku.as_str()
    );
    taken.clone()
}

fn expect_none<T: std::fmt::Debug>(world: &World, taken: Result<T>, part: &str) -> SnapshotError {
    let error = taken.unwrap_err();
    assert!(error.to_string().contains(part), "{error}");
    world.assert_clean(&[]);
    error
}

#[tokio::test(start_paused = true)]
async fn a_frozen_volume_is_consistent_and_runs_again_as_soon_as_its_data_is_fixed() {
    for mode in [Auto, Required] {
        let world = World::with([disk("data")]);
        let taken = expect(&world, take(&world, mode).await, Consistency::Filesystem);
        let floor = FIXING + Duration::from_millis(50);
        assert!(
            taken.worth.frozen >= floor && taken.worth.frozen < floor + Duration::from_millis(50)
        );
        assert_eq!(world.lock().calls, ["disk", "cut", "tag"]);
    }
}

#[tokio::test(start_paused = true)]
async fn off_asks_no_agent() {
    let world = World::with([disk("data")]);
    expect(&world, take(&world, Off).await, Consistency::Crash);
    assert_eq!(world.node.lock().unwrap().holds, 0);
}

#[tokio::test(start_paused = true)]
async fn a_disk_attached_nowhere_before_and_after_satisfies_required() {
    for (mode, down) in [
        (Auto, false),
        (Required, false),
        (Required, true),
        (Off, false),
    ] {
        let world = World::with([detached("data")]);
        refuse(&world, "data", true);
        world.node.lock().unwrap().down = down;
        expect(&world, take(&world, mode).await, Consistency::Unmounted);
    }
}

#[tokio::test(start_paused = true)]
async fn a_disk_attached_meanwhile_is_not_unmounted() {
    let world = World::with([detached("data")]);
    refuse(&world, "data", true);
    world.lock().attaches_at_put = true;
    let taken = expect(&world, take(&world, Auto).await, Consistency::Crash);
    assert!(taken.worth.reason.contains("attached meanwhile"));

    let world = World::with([detached("data")]);
    refuse(&world, "data", true);
    world.lock().attaches_at_put = true;
    expect_none(&world, take(&world, Required).await, "attached meanwhile");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_frozen_is_crash_consistent_or_nothing() {
    for (down, not_mounted, detach) in [
        (true, false, false),
        (false, true, false),
        (false, false, false),
        (false, false, true),
    ] {
        let make = || {
            let world = World::with([if detach {
                detached("data")
            } else {
                disk("data")
            }]);
            refuse(&world, "data", not_mounted);
            world.node.lock().unwrap().down = down;
            world
        };
        let world = make();
        expect(&world, take(&world, Auto).await, Consistency::Crash);
        let world = make();
        let error = expect_none(
            &world,
            take(&world, Required).await,
            "`freeze` is `required`",
        );
        assert!(matches!(error, SnapshotError::NotFrozen { .. }) && !error.is_retryable());
        assert_eq!(world.calls("cut"), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_hold_that_ends_early_is_told() {
    for after in [0, 30, 60, 900, 1549] {
        let make = || {
            let world = World::with([disk("data")]);
            world.node.lock().unwrap().lost_after = Some(Duration::from_millis(after));
            world
        };
        let world = make();
        let taken = expect(&world, take(&world, Auto).await, Consistency::Crash);
        assert!(
            taken.worth.reason.contains("its limit passed"),
            "{after} ms"
        );
        let world = make();
        let error = expect_none(&world, take(&world, Required).await, "did not stay frozen");
        assert!(matches!(error, SnapshotError::NotHeld { .. }), "{after} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_slower_than_the_limit_is_waited_for_without_freezing() {
    let world = World::with([disk("data")]);
    world
        .lock()
        .puts
        .push_back(Put::Slow(Duration::from_secs(60)));
    let taken = expect(&world, take(&world, Auto).await, Consistency::Crash);
    assert_eq!(taken.worth.frozen, Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_is_silent_at_the_end_did_not_hold() {
    let world = World::with([disk("data")]);
    world.node.lock().unwrap().lies_low = true;
    expect(&world, take(&world, Auto).await, Consistency::Crash);
    let world = World::with([disk("data")]);
    world.node.lock().unwrap().lies_low = true;
    expect_none(
        &world,
        take(&world, Required).await,
        "the agent said nothing",
    );
}

#[tokio::test(start_paused = true)]
async fn a_throttled_put_thaws_waits_and_starts_again() {
    for mode in [Auto, Required] {
        let world = World::with([disk("data")]);
        let wait = Duration::from_secs(17);
        world
            .lock()
            .puts
            .extend([Put::Throttled(Some(wait)), Put::Throttled(None)]);
        let start = Instant::now();
        let taken = expect(&world, take(&world, mode).await, Consistency::Filesystem);
        assert!(start.elapsed() > wait && taken.worth.frozen < Duration::from_secs(2));
        assert_eq!(world.node.lock().unwrap().holds, 3);
        assert_eq!(
            world.calls("delete"),
            0,
            "Azure did nothing, so there is nothing to delete"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn throttling_is_borne_for_api_timeout_only() {
    let world = World::with([disk("data")]);
    world.lock().puts.extend(vec![Put::Throttled(None); 50]);
    let start = Instant::now();
    let error = expect_none(&world, take(&world, Auto).await, "throttles");
    assert!(error.is_retryable() && start.elapsed() <= Duration::from_secs(120));
}

#[tokio::test(start_paused = true)]
async fn an_accepted_put_whose_answer_was_lost_is_adopted_while_frozen() {
    for put in [
        Put::Unanswered(Some(Duration::ZERO)),
        Put::Conflict { landed: true },
    ] {
        let world = World::with([disk("data")]);
        world.lock().puts.push_back(put);
        let taken = expect(
            &world,
            take(&world, Required).await,
            Consistency::Filesystem,
        );
        assert!(taken.worth.frozen < Duration::from_secs(2));
        assert_eq!(world.node.lock().unwrap().holds, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_put_that_lands_late_is_deleted() {
    for late in [None, Some(200), Some(2_000), Some(9_000)] {
        let world = World::with([disk("data")]);
        world
            .lock()
            .puts
            .push_back(Put::Unanswered(late.map(Duration::from_millis)));
        expect(
            &world,
            take(&world, Required).await,
            Consistency::Filesystem,
        );
        assert_eq!(world.calls("cut"), 2, "{late:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_azure_refuses_or_fails_leaves_nothing() {
    for (put, part, retryable) in [
        (Put::Refused, "AuthorizationFailed", false),
        (Put::NoDisk, "does not exist", false),
        (Put::Conflict { landed: false }, "conflict", true),
        (Put::Fails, "ended as Failed", true),
    ] {
        for mode in [Auto, Required, Off] {
            let world = World::with([disk("data")]);
            world.lock().puts.push_back(put.clone());
            let error = expect_none(&world, take(&world, mode).await, part);
            assert_eq!(error.is_retryable(), retryable, "{error}");
            assert_eq!(world.calls("cut"), 1);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_put_that_hangs_thaws_at_its_limit_and_ends_at_api_timeout() {
    for mode in [Auto, Required] {
        let world = World::with([disk("data")]);
        world.lock().puts.push_back(Put::Hangs);
        let start = Instant::now();
        expect_none(&world, take(&world, mode).await, "deleted");
        assert!(
            start.elapsed() < Duration::from_secs(145),
            "{:?}",
            start.elapsed()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_is_never_fixed_ends_at_api_timeout() {
    let world = World::with([disk("data")]);
    world
        .lock()
        .puts
        .push_back(Put::Slow(Duration::from_secs(3600)));
    let error = expect_none(&world, take(&world, Auto).await, "apiTimeout");
    assert!(matches!(error, SnapshotError::TimedOut { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_snapshot_thaws_at_once_and_leaves_nothing() {
    for after in (0..1700).step_by(23) {
        let world = World::with([disk("data")]);
        let cancel = CancellationToken::new();
        let taking = tokio::spawn({
            let (site, cancel) = (site(&world, &[]), cancel.clone());
            async move { site.take(volume("data"), Required, &cancel).await }
        });
        sleep(Duration::from_millis(after)).await;
        cancel.cancel();
        sleep(Duration::from_millis(1)).await;
        assert_eq!(world.node.lock().unwrap().frozen, 0, "{after} ms");
        let taken = taking.await.unwrap();
        match taken {
            // It was done before the cancellation came.
            Ok(taken) => world.assert_clean(&[taken.snapshot]),
            Err(_) => drop(expect_none(&world, taken, "cancelled")),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_is_not_held() {
    let world = World::with([disk("data")]);
    let site = site(&world, &[]);
    let cancel = CancellationToken::new();
    let taking = site.take(volume("data"), Required, &cancel);
    assert!(
        tokio::time::timeout(Duration::from_millis(700), taking)
            .await
            .is_err()
    );
    assert_eq!(world.node.lock().unwrap().frozen, 0);
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_cannot_be_tagged_is_not_returned() {
    let world = World::with([disk("data")]);
    world.lock().tag_fails = true;
    expect_none(&world, take(&world, Auto).await, "no usable answer");
}

fn premium_v2() -> crate::model::Disk {
    let properties = crate::model::DiskProperties {
        iops_read_write: Some(9000),
        ..fake::properties("PremiumV2_LRS")
    };
    crate::model::Disk {
        properties,
        ..disk("data")
    }
}

#[tokio::test(start_paused = true)]
async fn a_background_copy_is_awaited_without_freezing() {
    let world = World::with([premium_v2()]);
    world.lock().copies = Some(Ok(Duration::from_secs(300)));
    let start = Instant::now();
    let taken = expect(
        &world,
        take(&world, Required).await,
        Consistency::Filesystem,
    );
    assert!(
        start.elapsed() > Duration::from_secs(300) && taken.worth.frozen < Duration::from_secs(2)
    );
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_outlasts_copy_timeout_is_told() {
    let world = World::with([premium_v2()]);
    world.lock().copies = Some(Ok(Duration::from_secs(3000)));
    let taken = expect(&world, take(&world, Auto).await, Consistency::Filesystem);
    assert!(taken.worth.reason.contains("copy was not complete"));
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_fails_leaves_nothing() {
    let world = World::with([premium_v2()]);
    world.lock().copies = Some(Err(fake::failed("the copy")));
    expect_none(&world, take(&world, Auto).await, "ended as Failed");
}

#[tokio::test(start_paused = true)]
async fn volume_info_is_not_asked_for_twice() {
    let world = World::with([premium_v2()]);
    let site = site(&world, &[]);
    let info = site
        .volume_info(&disk_id("DATA").to_string().to_uppercase())
        .await
        .unwrap();
    assert_eq!(
        (info.sku, info.iops),
        (Sku::new("PremiumV2_LRS"), Some(9000))
    );
    let taken = site
        .take(volume("data"), Auto, &CancellationToken::new())
        .await;
    expect(&world, taken, Consistency::Filesystem);
    assert_eq!(world.calls("disk"), 1);
}

#[tokio::test(start_paused = true)]
async fn an_unattached_disk_is_looked_up_again() {
    let world = World::with([detached("data")]);
    refuse(&world, "data", true);
    let site = site(&world, &[]);
    site.volume_info("data").await.unwrap();
    world
        .lock()
        .disks
        .get_mut(&disk_id("data"))
        .unwrap()
        .attached_to
        .push("vm-1".to_owned());
    let taken = site
        .take(volume("data"), Auto, &CancellationToken::new())
        .await;
    expect(&world, taken, Consistency::Crash);
}

#[tokio::test(start_paused = true)]
async fn a_disk_detached_since_a_moment_ago_still_satisfies_required() {
    let world = World::with([disk("data")]);
    refuse(&world, "data", true);
    let site = site(&world, &[]);
    site.volume_info("data").await.unwrap();
    world
        .lock()
        .disks
        .get_mut(&disk_id("data"))
        .unwrap()
        .attached_to
        .clear();
    let taken = site
        .take(volume("data"), Required, &CancellationToken::new())
        .await;
    expect(&world, taken, Consistency::Unmounted);
}

#[tokio::test(start_paused = true)]
async fn a_disk_on_two_machines_is_not_held_by_one() {
    let shared = crate::model::Disk {
        attached_to: vec!["a".into(), "b".into()],
        ..disk("data")
    };
    let world = World::with([shared]);
    let taken = expect(&world, take(&world, Auto).await, Consistency::Crash);
    assert!(taken.worth.reason.contains("2 machines"));
}

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
async fn incremental_snapshots_stay_in_the_disks_subscription() {
    let other = "11111111-2222-3333-4444-555555555555";
    let elsewhere = [("subscriptionId", other), ("resourceGroup", "backups")];
    for (incremental, sku, expected) in [
        (None, "Premium_LRS", Ok(false)),
        (Some("false"), "Premium_LRS", Ok(false)),
        (
            Some("true"),
            "Premium_LRS",
            Err("set `incremental` to false"),
        ),
        (None, "PremiumV2_LRS", Err("without `subscriptionId`")),
    ] {
        let own = crate::model::Disk {
            properties: fake::properties(sku),
            ..disk("data")
        };
        let world = World::with([own]);
        let config: Vec<_> = elsewhere
            .into_iter()
            .chain(incremental.map(|value| ("incremental", value)))
            .collect();
        let taken = site(&world, &config)
            .take(volume("data"), Auto, &CancellationToken::new())
            .await;
        match expected {
            Ok(incremental) => {
                let id = taken.unwrap().snapshot;
                assert_eq!(
                    (id.group.subscription.as_str(), id.group.name.as_str()),
                    (other, "backups")
                );
                assert_eq!(world.lock().snapshots[&id].incremental, incremental);
            }
            Err(part) => drop(expect_none(&world, taken, part)),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_id_is_told() {
    let world = World::with([]);
    let site = site(&world, &[]);
    for volume_id in ["", "/subscriptions/s/disks/d"] {
        let taken = site
            .take(volume(volume_id), Auto, &CancellationToken::new())
            .await;
        expect_none(&world, taken, &format!("`{volume_id}`"));
        expect_none(
            &world,
            site.volume_info(volume_id).await,
            &format!("`{volume_id}`"),
        );
    }
    expect_none(&world, site.delete("snap-1").await, "`snap-1`");
    let missing = "/subscriptions/S/RESOURCEGROUPS/g/providers/microsoft.compute/snapshots/x";
    site.delete(missing).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn only_abandoned_snapshots_are_swept() {
    use std::time::SystemTime;
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
