//! How a hold ends, and what is told of it.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::scene::{Scene, attempt, retry, spec};
use crate::{
    gate::{
        admit::Decision,
        attempt::Attempt,
        ports::{Class, Content, Kind},
    },
    model::Consistency::{Crash, Filesystem, Unmounted},
    model::Disk,
    snapshot::fake::{FIXING, World, disk, disk_id},
};

const CONFIRMED: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn held_until_azure_has_the_data_and_no_longer() {
    let scene = Scene::new();
    let begun = Instant::now();
    scene.begin(&attempt()).await;
    assert!(scene.put(&attempt(), FIXING).await, "frozen at the PUT");
    let put = Instant::now();
    scene.thawed().await;
    assert!(put.elapsed() >= FIXING && put.elapsed() < FIXING + Duration::from_millis(60));
    sleep(Duration::from_secs(4)).await;
    scene.created(&attempt());
    let worth = scene.expect(Filesystem, "held from before the PUT").await;
    assert!(worth.frozen >= FIXING && worth.frozen < begun.elapsed());
    let tags = scene.world.lock().snapshots[&spec(&attempt()).id]
        .tags
        .clone();
    assert_eq!(tags["stillpoint-consistency"], "filesystem");
    assert_eq!(tags["stillpoint-state"], "complete");
    assert_eq!(
        tags["k8s-azure-created-by"], "driver",
        "the driver's tags stay"
    );
}

#[tokio::test(start_paused = true)]
async fn a_hold_that_the_api_server_did_not_store_is_let_go_within_a_second() {
    let scene = Scene::new();
    scene.ask(&attempt()).await;
    assert!(scene.frozen());
    assert!(scene.thawed().await <= CONFIRMED + Duration::from_millis(10));
    scene.gate.drained().await;
    assert!(scene.objects.told.lock().unwrap().is_empty());
    // And not held again so soon, whoever asks.
    scene.ask(&attempt()).await;
    assert!(!scene.frozen());
}

#[tokio::test(start_paused = true)]
async fn a_hold_that_was_stored_late_does_not_bar_the_next() {
    let scene = Scene::new();
    let Decision::Held(hold) = scene.ask(&attempt()).await else {
        panic!("not held")
    };
    scene.thawed().await;
    scene.gate.drained().await;
    scene.store(&attempt(), &hold);
    sleep(Duration::from_millis(1)).await;
    scene.objects.delete(&attempt().content);
    scene.begin(&attempt()).await;
    assert!(scene.frozen());
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_another_hold_confirms_none() {
    let scene = Scene::new();
    scene.ask(&attempt()).await;
    scene.store(&attempt(), "of-another-gate");
    assert!(scene.thawed().await < Duration::from_millis(10), "at once");
    // The API server asked for it, so the volume may be held again.
    scene.objects.delete(&attempt().content);
    scene.begin(&attempt()).await;
    assert!(scene.frozen());
}

#[tokio::test(start_paused = true)]
async fn a_final_error_thaws_and_the_next_attempt_is_held_again() {
    let scene = Scene::new();
    scene.begin(&attempt()).await;
    sleep(Duration::from_millis(80)).await;
    scene.failed(&attempt(), "403");
    assert!(scene.thawed().await < Duration::from_millis(20));
    sleep(Duration::from_secs(1)).await;
    scene.begin(&retry()).await;
    assert!(scene.put(&retry(), FIXING).await);
    sleep(Duration::from_secs(5)).await;
    scene.created(&retry());
    scene.expect(Filesystem, "").await;
    let told = scene.objects.told.lock().unwrap().clone();
    assert_eq!((told.len(), told[0].taken), (2, false), "{told:?}");
    assert!(told[0].worth.reason.contains("failed"), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn an_operation_that_failed_thaws_and_its_handle_proves_nothing() {
    let scene = Scene::new();
    scene.begin(&attempt()).await;
    sleep(Duration::from_millis(30)).await;
    scene.world.foreign_put_that_fails(&spec(&attempt()));
    assert!(scene.thawed().await < FIXING + Duration::from_millis(60));
    scene.failed(&attempt(), "operation failed");
    sleep(Duration::from_secs(1)).await;
    scene.begin(&retry()).await;
    assert!(
        !scene.frozen(),
        "the failed snapshot is there: nothing will be cut"
    );
    scene.created(&retry());
    scene.expect(Crash, "is there already").await;
}

#[tokio::test(start_paused = true)]
async fn a_hold_that_its_limit_ended_is_worth_nothing() {
    let scene = Scene::new();
    scene.begin(&attempt()).await;
    assert!(scene.put(&attempt(), Duration::from_secs(30)).await);
    let frozen = scene.thawed().await;
    assert!(frozen < Duration::from_secs(10), "{frozen:?}");
    sleep(Duration::from_secs(40)).await;
    scene.created(&attempt());
    let verdict = scene.verdict().await;
    assert!(verdict.taken);
    scene.expect(Crash, "not held until Succeeded").await;
}

#[tokio::test(start_paused = true)]
async fn a_put_after_the_limit_is_of_a_running_filesystem() {
    let scene = Scene::new();
    scene.begin(&attempt()).await;
    sleep(Duration::from_secs(20)).await;
    assert!(!scene.put(&attempt(), FIXING).await);
    scene.created(&attempt());
    scene.expect(Crash, "not held").await;
}

#[tokio::test(start_paused = true)]
async fn a_content_that_goes_or_another_attempt_ends_the_hold() {
    for gone in [true, false] {
        let scene = Scene::new();
        scene.begin(&attempt()).await;
        sleep(Duration::from_millis(5)).await;
        if gone {
            scene.objects.delete(&attempt().content);
        } else {
            scene.store(&attempt(), "another");
        }
        assert!(
            scene.thawed().await < Duration::from_millis(20),
            "gone: {gone}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_that_is_not_final_does_not_end_a_hold_that_azure_will() {
    let scene = Scene::new();
    scene.begin(&attempt()).await;
    scene.put(&attempt(), FIXING).await;
    let late = |content: &mut crate::gate::ports::Content| content.error = Some("timeout".into());
    scene.objects.change(&attempt().content, late);
    sleep(Duration::from_millis(500)).await;
    assert!(scene.frozen());
    scene.thawed().await;
    scene.created(&attempt());
    scene.expect(Filesystem, "").await;
}

#[tokio::test(start_paused = true)]
async fn without_azure_the_first_handle_ends_it_and_a_later_one_proves_nothing() {
    let world = || World::with([disk("data")]);
    let scene = Scene::with(world(), false, |_| {});
    scene.begin(&attempt()).await;
    assert!(scene.put(&attempt(), FIXING).await);
    sleep(Duration::from_secs(5)).await;
    assert!(scene.frozen());
    scene.created(&attempt());
    scene.expect(Filesystem, "").await;

    let scene = Scene::with(world(), false, |_| {});
    scene.begin(&retry()).await;
    assert!(!scene.frozen(), "what could it prove?");
    scene.created(&retry());
    scene.expect(Crash, "an earlier attempt").await;
}

#[tokio::test(start_paused = true)]
async fn a_copy_for_another_region_has_a_name_that_is_not_asked_for() {
    let scene = Scene::new();
    let class = Class {
        location: Some("northeurope".to_owned()),
        ..Class::default()
    };
    scene
        .objects
        .classes
        .lock()
        .unwrap()
        .insert("far".to_owned(), class);
    let attempt = Attempt {
        class: Some("far".to_owned()),
        ..attempt()
    };
    scene.begin(&attempt).await;
    sleep(Duration::from_secs(3)).await;
    scene.created(&attempt);
    scene.expect(Filesystem, "").await;
    assert_eq!(scene.world.calls("snapshot"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_is_attached_nowhere_is_unmounted_before_and_after() {
    for attached_meanwhile in [false, true] {
        let nowhere = Disk {
            attached_to: vec![],
            ..disk("data")
        };
        let scene = Scene::with(World::with([nowhere]), true, |_| {});
        let volume = disk_id("data").into();
        scene.refuse(&volume, true, "no agent to freeze with");
        scene.begin(&attempt()).await;
        scene.put(&attempt(), FIXING).await;
        if attached_meanwhile {
            let mut state = scene.world.lock();
            let disk = state.disks.get_mut(&disk_id("data")).unwrap();
            disk.attached_to.push("vm".to_owned());
        }
        sleep(Duration::from_secs(5)).await;
        scene.created(&attempt());
        let expected = if attached_meanwhile { Crash } else { Unmounted };
        scene.expect(expected, "attached").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_group_is_held_together_and_is_worth_what_its_worst_volume_is() {
    let mut group = attempt();
    group.content.kind = Kind::Group;
    group.volumes.push(disk_id("more").into());
    for refused in [false, true] {
        let scene = Scene::new();
        if refused {
            scene.refuse(&group.volumes[1], false, "frozen by someone else");
        }
        scene.begin(&group).await;
        assert!(scene.frozen());
        assert_eq!(scene.world.node.lock().unwrap().holds, 1);
        sleep(Duration::from_secs(2)).await;
        scene.created(&group);
        if refused {
            scene.expect(Crash, "frozen by someone else").await;
        } else {
            scene.expect(Filesystem, "").await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_verdict_of_a_gate_that_is_gone_is_told_by_another() {
    let scene = Scene::new();
    scene.store(&attempt(), "of-the-dead");
    scene.created(&attempt());
    let gate = scene.gate.clone();
    let orphans = tokio::spawn(async move { gate.end_orphans().await });
    sleep(Duration::from_secs(20)).await;
    assert!(
        scene.objects.told.lock().unwrap().is_empty(),
        "its gate may still tell"
    );
    sleep(Duration::from_secs(20)).await;
    orphans.abort();
    let verdict = scene.verdict().await;
    assert!(verdict.orphan && verdict.taken);
    scene.expect(Crash, "ended before it could tell").await;
}

#[tokio::test(start_paused = true)]
async fn a_hold_that_lives_is_no_orphan() {
    let scene = Scene::new();
    let gate = scene.gate.clone();
    let orphans = tokio::spawn(async move { gate.end_orphans().await });
    scene.begin(&attempt()).await;
    scene.put(&attempt(), FIXING).await;
    sleep(Duration::from_secs(60)).await;
    scene.created(&attempt());
    sleep(Duration::from_secs(60)).await;
    orphans.abort();
    scene.expect(Filesystem, "").await;
    assert_eq!(scene.objects.told.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_verdict_that_csi_snapshotter_overwrote_is_told_again() {
    let scene = Scene::new();
    scene.begin(&attempt()).await;
    scene.put(&attempt(), FIXING).await;
    scene.created(&attempt());
    scene.expect(Filesystem, "").await;
    let mark = |content: &mut Content| {
        content.being_created = true;
        content.pending = true;
    };
    scene.objects.change(&attempt().content, mark);
    let gate = scene.gate.clone();
    let orphans = tokio::spawn(async move { gate.end_orphans().await });
    sleep(Duration::from_secs(5)).await;
    orphans.abort();
    let again = scene.verdict().await;
    assert!(again.orphan && !again.taken);
    scene.expect(Filesystem, "held from before the PUT").await;
    assert_eq!(scene.objects.told.lock().unwrap().len(), 2);
}
