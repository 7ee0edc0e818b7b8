//! What the API server is told.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::scene::{Scene, attempt, retry, spec};
use crate::{
    config::FreezeMode::{Auto, Off, Required},
    gate::{
        admit::Decision::{self, Deny, Held, Pass},
        attempt::Attempt,
        ports::Class,
    },
    model::Consistency::Crash,
    snapshot::fake::{FIXING, World, disk, disk_id},
};

fn refuse(scene: &Scene, not_mounted: bool) {
    let volume = disk_id("data").into();
    scene.refuse(&volume, not_mounted, "a raw block volume");
}

fn required() -> Scene {
    Scene::with(World::with([disk("data")]), true, |settings| {
        settings.freeze = Required;
    })
}

#[track_caller]
fn assert_denied(decision: Decision, part: &str) {
    let Deny(reason) = decision else {
        panic!("{decision:?}")
    };
    assert!(
        reason.contains(part) && reason.contains("required"),
        "{reason}"
    );
}

#[tokio::test(start_paused = true)]
async fn others_pass_and_freeze_nothing() {
    let other = Attempt {
        driver: "file.csi.azure.com".to_owned(),
        ..attempt()
    };
    let excluded = |settings: &mut crate::gate::Settings| {
        settings.excluded_namespaces.push("shop".to_owned());
    };
    for (what, scene, attempt) in [
        ("another driver", Scene::new(), other),
        (
            "an excluded namespace",
            Scene::with(World::with([disk("data")]), true, excluded),
            attempt(),
        ),
        (
            "consistent already",
            Scene::new(),
            Attempt {
                consistent_already: true,
                ..retry()
            },
        ),
    ] {
        if what == "consistent already" {
            scene.world.foreign_put(&spec(&attempt), FIXING);
        }
        assert_eq!(scene.ask(&attempt).await, Pass, "{what}");
        assert!(!scene.frozen(), "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn class_and_annotations_say_whether_but_nothing_lowers_required() {
    for (gate, class, wish, frozen) in [
        (Auto, None, None, true),
        (Auto, Some(Off), None, false),
        (Auto, None, Some(Off), false),
        (Off, None, None, false),
        (Off, Some(Auto), None, true),
        (Off, None, Some(Required), true),
        (Required, Some(Off), Some(Off), true),
        (Auto, Some(Required), Some(Off), true),
    ] {
        let scene = Scene::with(World::with([disk("data")]), true, |settings| {
            settings.freeze = gate;
        });
        let class = Class {
            wish: class,
            ..Class::default()
        };
        scene
            .objects
            .classes
            .lock()
            .unwrap()
            .insert("c".to_owned(), class.clone());
        if let Some(wish) = wish {
            scene
                .objects
                .wishes
                .lock()
                .unwrap()
                .insert(disk_id("data").into(), wish);
        }
        let attempt = Attempt {
            class: Some("c".to_owned()),
            ..attempt()
        };
        let decision = scene.ask(&attempt).await;
        let case = format!("{gate} {class:?} {wish:?}: {decision:?}");
        assert_eq!(scene.frozen(), frozen, "{case}");
        assert_eq!(matches!(decision, Held(_)), frozen, "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn agents_get_ready_for_the_volumes_of_a_content_that_is_known() {
    let expected = |scene: &Scene| scene.world.node.lock().unwrap().expected.clone();
    let scene = Scene::new();
    let until = Instant::now() + Duration::from_secs(10);
    scene.gate.admit(attempt(), until).await;
    assert_eq!(expected(&scene), []);
    let scene = Scene::new();
    scene.begin(&attempt()).await;
    assert_eq!(expected(&scene), attempt().volumes);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_frozen_passes_with_its_verdict_or_is_denied() {
    let scene = Scene::new();
    refuse(&scene, false);
    scene.begin(&attempt()).await;
    scene.put(&attempt(), FIXING).await;
    scene.created(&attempt());
    scene.expect(Crash, "a raw block volume").await;

    let scene = required();
    refuse(&scene, false);
    assert_denied(scene.ask(&attempt()).await, "a raw block volume");
}

#[tokio::test(start_paused = true)]
async fn required_takes_an_unmounted_disk_that_azure_says_is_attached_nowhere() {
    let scene = required();
    refuse(&scene, true);
    assert_denied(scene.ask(&attempt()).await, "a raw block volume");
    scene
        .world
        .lock()
        .disks
        .get_mut(&disk_id("data"))
        .unwrap()
        .attached_to
        .clear();
    assert!(matches!(scene.ask(&attempt()).await, Held(_)));
}

#[tokio::test(start_paused = true)]
async fn a_content_that_the_watch_does_not_know_freezes_nothing() {
    let scene = Scene::new();
    let until = Instant::now() + Duration::from_secs(10);
    let asked = scene.gate.admit(attempt(), until);
    assert!(matches!(asked.await, Held(_)));
    assert_eq!(scene.world.node.lock().unwrap().holds, 0);
    // Nor does one of another volume.
    let scene = required();
    scene.objects.change(&attempt().content, |content| {
        content.volumes = vec![disk_id("more").into()];
    });
    assert_denied(scene.gate.admit(attempt(), until).await, "does not know");
    assert!(!scene.frozen());
}

#[tokio::test(start_paused = true)]
async fn a_freeze_that_comes_too_late_is_undone() {
    for scene in [Scene::new(), required()] {
        scene.make(&attempt());
        let decision = scene
            .gate
            .admit(attempt(), Instant::now() + Duration::from_millis(25))
            .await;
        assert!(!scene.frozen(), "{decision:?}");
        match decision {
            Held(hold) => {
                scene.store(&attempt(), &hold);
                scene.created(&attempt());
                scene.expect(Crash, "patience").await;
            }
            other => assert_denied(other, "patience"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_review_that_is_repeated_before_its_answer_was_stored_has_the_same_answer() {
    let scene = Scene::new();
    let first = scene.ask(&attempt()).await;
    sleep(Duration::from_millis(900)).await;
    assert_eq!(scene.ask(&attempt()).await, first);
    sleep(Duration::from_millis(900)).await;
    assert!(scene.frozen(), "the second answer has a second too");
    let Held(hold) = first else {
        panic!("{first:?}")
    };
    scene.store(&attempt(), &hold);
    sleep(Duration::from_millis(5)).await;
    assert_eq!(scene.world.node.lock().unwrap().holds, 1);
    let another = scene.ask(&retry()).await;
    assert_ne!(another, Held(hold), "stored: the next is another attempt");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_cancelled_leaves_nothing_frozen() {
    for after in [5, 22, 35] {
        let scene = Scene::new();
        scene.make(&attempt());
        let gate = scene.gate.clone();
        let until = Instant::now() + Duration::from_secs(10);
        let asking = tokio::spawn(async move { gate.admit(attempt(), until).await });
        sleep(Duration::from_millis(after)).await;
        asking.abort();
        let _ = asking.await;
        // Answered by then, it is not stored.
        assert!(
            scene.thawed().await <= Duration::from_millis(1010),
            "{after} ms"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_request_of_an_earlier_attempt_that_lands_meanwhile_is_seen() {
    let scene = Scene::new();
    let late = spec(&retry());
    let world = scene.world.clone();
    tokio::spawn(async move {
        // After the look before the freeze, before that after it.
        sleep(Duration::from_millis(25)).await;
        world.foreign_put(&late, FIXING);
    });
    scene.begin(&retry()).await;
    assert!(!scene.frozen());
    scene.created(&retry());
    scene.expect(Crash, "came of an earlier attempt").await;
}

#[tokio::test(start_paused = true)]
async fn a_volume_that_was_held_too_often_passes_with_its_verdict() {
    let scene = Scene::new();
    let mut held = 0;
    for _ in 0..20 {
        scene.begin(&retry()).await;
        held += usize::from(scene.frozen());
        scene.failed(&retry(), &format!("error {held}"));
        scene.thawed().await;
        scene
            .objects
            .change(&retry().content, |content| content.error = None);
    }
    assert_eq!(held, 8);
    scene.expect(Crash, "").await;
}
