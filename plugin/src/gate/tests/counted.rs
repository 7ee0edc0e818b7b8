//! What is counted of all this.

use std::time::Duration;

use super::scene::{Scene, attempt};
use crate::{
    config::FreezeMode::Required,
    snapshot::fake::{FIXING, World, disk, disk_id},
};

#[track_caller]
fn assert_counted(scene: &Scene, lines: &[&str]) {
    let text = scene.gate.metrics().text();
    for line in lines {
        let is = |seen: &str| seen == format!("stillpoint_gate_{line}");
        assert!(text.lines().any(is), "{line}: {text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hold_its_verdict_and_how_long_it_froze_are_counted() {
    let scene = Scene::new();
    scene.begin(&attempt()).await;
    assert_counted(
        &scene,
        &["holds 1", r#"verdicts_total{verdict="filesystem"} 0"#],
    );
    scene.put(&attempt(), FIXING).await;
    scene.thawed().await;
    scene.created(&attempt());
    scene.verdict().await;
    assert_counted(
        &scene,
        &[
            "holds 0",
            r#"verdicts_total{verdict="filesystem"} 1"#,
            "frozen_seconds_count 1",
            "unheld_total 0",
            "lost_holds_total 0",
        ],
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_not_held_lost_or_not_stored_is_counted() {
    let scene = Scene::new();
    scene.ask(&attempt()).await;
    scene.thawed().await;
    scene.gate.drained().await;
    assert_counted(&scene, &["unconfirmed_holds_total 1", "holds 0"]);

    let scene = Scene::new();
    scene.refuse(&disk_id("data").into(), false, "a raw block volume");
    scene.begin(&attempt()).await;
    assert_counted(&scene, &["unheld_total 1", "holds 0"]);

    let scene = Scene::with(World::with([disk("data")]), true, |settings| {
        settings.freeze_timeout = Duration::from_secs(1);
    });
    scene.begin(&attempt()).await;
    scene.put(&attempt(), Duration::from_secs(5)).await;
    scene.thawed().await;
    scene.created(&attempt());
    scene.verdict().await;
    assert_counted(
        &scene,
        &["lost_holds_total 1", r#"verdicts_total{verdict="crash"} 1"#],
    );

    let scene = Scene::with(World::with([disk("data")]), true, |settings| {
        settings.freeze = Required;
    });
    scene.refuse(&disk_id("data").into(), false, "a raw block volume");
    scene.ask(&attempt()).await;
    assert_counted(&scene, &["unheld_total 0"]);
}
