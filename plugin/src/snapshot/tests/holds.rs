//! What a snapshot is worth, by what the agent and Azure say of its volume.

use super::*;

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
async fn a_disk_on_two_machines_is_held_by_both_unless_a_third_comes() {
    for attaches in [false, true] {
        let mut shared = crate::model::Disk {
            attached_to: vec!["a".into(), "b".into()],
            ..disk("data")
        };
        shared.properties.max_shares = Some(3);
        let world = World::with([shared]);
        world.node.lock().unwrap().more = 1;
        world.lock().attaches_at_put = attaches;
        let taken = take(&world, Auto).await;
        if attaches {
            let taken = expect(&world, taken, Consistency::Crash);
            assert!(taken.worth.reason.contains("meanwhile"));
        } else {
            let taken = expect(&world, taken, Consistency::Filesystem);
            assert!(taken.worth.reason.contains("node-1 and node-2"));
        }
    }
}
