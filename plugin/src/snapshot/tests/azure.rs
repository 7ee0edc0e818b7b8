//! Azure throttles, refuses, fails, loses answers, copies.

use super::*;

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
async fn a_snapshot_that_cannot_be_tagged_is_not_returned() {
    let world = World::with([disk("data")]);
    world.lock().tag_fails = true;
    expect_none(&world, take(&world, Auto).await, "no usable answer");
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
