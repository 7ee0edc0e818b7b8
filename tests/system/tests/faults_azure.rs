//! Azure fails or delays the PUT: nothing stays frozen, nothing is left behind, and the snapshot
//! is called what it is.

use std::time::Duration;

use anyhow::ensure;
use stillpoint_lab::{Action, Fault};
use stillpoint_system::scene::{
    Case, Scene, all, fault, overcome, settings, status, throttled, until,
};

const AUTO: &[(&str, &str)] = &[("freeze", "auto")];
const REQUIRED: &[(&str, &str)] = &[("freeze", "required")];
const BRIEFLY: [&[(&str, &str)]; 2] = [
    &[("freeze", "auto"), ("freezeTimeout", "1s")],
    &[("freeze", "required"), ("freezeTimeout", "1s")],
];

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A fault after which there is no snapshot, in either mode.
fn refused(fault: Fault, why: &'static str) -> Case {
    Box::pin(async move {
        for config in [AUTO, REQUIRED] {
            let scene = Scene::busy(settings(), config).await?;
            scene.rig.lab.inject(fault.clone());
            let answer = scene.take().await;
            scene.is_refused(answer, why).await?;
        }
        Ok(())
    })
}

/// A fault that outlasts the hold: `auto` keeps the snapshot as what it is, `required` does not.
fn outlasts(fault: Fault) -> Case {
    Box::pin(async move {
        for config in BRIEFLY {
            let scene = Scene::busy(settings(), config).await?;
            scene.rig.lab.inject(fault.clone());
            let taking = scene.taking();
            scene.asked().await?;
            // The node thaws long before Azure is done.
            scene.thawed().await?;
            ensure!(!taking.is_finished(), "Azure was done already");
            scene.rig.lab.clear_faults();
            let answer = taking.await?;
            if config == BRIEFLY[0] {
                scene.is_crash(answer, "limit of 1s").await?;
            } else {
                scene.is_refused(answer, "limit of 1s").await?;
            }
        }
        Ok(())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn throttled_put_thaws_before_it_waits() {
    let case = |times| -> Case {
        Box::pin(async move {
            let scene = Scene::busy(settings(), REQUIRED).await?;
            scene.rig.lab.inject(fault("PUT", times, throttled()));
            let taking = scene.taking();
            for tried in 1..=times as usize {
                until("a PUT is throttled", || scene.puts() == tried).await?;
                scene.thawed().await?;
                ensure!(scene.puts() == tried, "it was frozen until the next PUT");
            }
            let snapshot = scene.is_whole(taking.await?).await?;
            let puts = scene.requests("PUT", "/snapshots/");
            ensure!(puts.len() == times as usize + 1);
            // Each attempt is a hold, and so a name, of its own.
            for (place, put) in puts.iter().enumerate() {
                ensure!(puts[..place].iter().all(|other| other.path != put.path));
            }
            ensure!(
                puts.last()
                    .is_some_and(|put| put.path.ends_with(&snapshot.id.name))
            );
            Ok(())
        })
    };
    all([("once", case(1)), ("three times", case(3))]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_and_failed_answers_of_the_put_are_overcome() {
    let put = |action| overcome(vec![fault("PUT", 1, action)], REQUIRED);
    let by = Duration::from_millis(300);
    all([
        ("500", put(status(500))),
        ("503", put(status(503))),
        ("closed before it was handled", put(Action::CloseBefore)),
        ("closed after it was handled", put(Action::CloseAfter)),
        ("broken off", put(Action::Truncate)),
        ("handled late", put(Action::Delay { by })),
        ("answered late", put(Action::DelayAnswer { by })),
        ("stays", put(Action::Stay { period: by })),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adopted_snapshot_is_the_only_one() {
    let case: Case = Box::pin(async {
        let scene = Scene::busy(settings(), REQUIRED).await?;
        scene.rig.lab.inject(fault("PUT", 1, Action::CloseAfter));
        let answer = scene.take().await;
        scene.is_whole(answer).await?;
        ensure!(scene.puts() == 1, "{} PUTs", scene.puts());
        Ok(())
    });
    all([("lost answer", case)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_azure_refuses_or_fails_leaves_nothing() {
    let failed = || Action::FailOperation {
        code: "InternalExecutionError".into(),
        message: "An internal execution error occurred.".into(),
    };
    let denied = Action::Deny {
        action: "Microsoft.Compute/disks/beginGetAccess/action".into(),
    };
    all([
        (
            "failed operation",
            refused(fault("PUT", 1, failed()), "internal execution error"),
        ),
        (
            "disk deleted meanwhile",
            refused(
                fault("PUT", 1, Action::DeleteSource),
                "source disk of the snapshot was not found",
            ),
        ),
        ("conflict", refused(fault("PUT", 1, status(409)), "409")),
        (
            "no right to read the disk",
            refused(
                fault("PUT", 1, denied),
                "grant the plugin's identity Microsoft.Compute/disks/beginGetAccess/action",
            ),
        ),
        (
            "tags forbidden",
            refused(fault("PATCH", 0, status(403)), "403"),
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn azure_slower_than_the_hold_is_told() {
    let (by, period) = (seconds(3), seconds(3));
    all([
        (
            "stays Creating",
            outlasts(fault("PUT", 1, Action::Stay { period })),
        ),
        (
            "PUT handled late",
            outlasts(fault("PUT", 1, Action::Delay { by })),
        ),
        (
            "PUT answered late",
            outlasts(fault("PUT", 1, Action::DelayAnswer { by })),
        ),
        // Every one, until the volume runs again.
        (
            "poll hangs",
            outlasts(fault(
                "GET",
                0,
                Action::Hang {
                    period: seconds(20),
                },
            )),
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn put_that_hangs_does_not_keep_anything_frozen() {
    let case = |config: &'static [(&'static str, &'static str)]| -> Case {
        Box::pin(async move {
            let scene = Scene::busy(settings(), config).await?;
            let period = seconds(4);
            scene
                .rig
                .lab
                .inject(fault("PUT", 1, Action::Hang { period }));
            let taking = scene.taking();
            scene.asked().await?;
            scene.thawed().await?;
            ensure!(!taking.is_finished());
            let answer = taking.await?;
            if config == BRIEFLY[0] {
                // The second attempt has a freeze of its own.
                scene.is_whole(answer).await.map(drop)
            } else {
                scene.is_refused(answer, "limit of 1s").await
            }
        })
    };
    all([("auto", case(BRIEFLY[0])), ("required", case(BRIEFLY[1]))]).await;
}
