//! Azure fails at every point between freeze and thaw: nothing stays frozen, nothing is left behind, and the snapshot
//! is called what it is.

use std::time::Duration;

use anyhow::{Result, ensure};
use stillpoint_lab::{Action, Fault, NewDisk, Settings, Sku};
use stillpoint_loopfs::Kind;
use stillpoint_system::{
    rig::Rig,
    scene::{self, Case, Scene, all, fault, settings, status, throttled, until},
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

/// A fault that the plugin gets over: the snapshot is consistent in the end, and the only one.
fn overcome(faults: Vec<Fault>, config: &'static [(&'static str, &'static str)]) -> Case {
    Box::pin(async move {
        let scene = Scene::busy(settings(), config).await?;
        faults
            .into_iter()
            .for_each(|fault| scene.rig.lab.inject(fault));
        let answer = scene.take().await;
        ensure!(scene.rig.lab.faults().is_empty(), "the fault met nothing");
        scene.is_whole(answer).await.map(drop)
    })
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
            refused(fault("PUT", 1, Action::DeleteSource), ""),
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

#[tokio::test(flavor = "multi_thread")]
async fn failing_polls_are_overcome() {
    let poll = |action| overcome(vec![fault("GET", 2, action)], REQUIRED);
    let period = Duration::from_millis(500);
    all([
        ("429", poll(throttled())),
        ("500", poll(status(500))),
        ("closed", poll(Action::CloseBefore)),
        ("broken off", poll(Action::Truncate)),
        ("hangs", poll(Action::Hang { period })),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_tags_are_written_in_the_end() {
    let tags = |action| overcome(vec![fault("PATCH", 2, action)], REQUIRED);
    all([
        ("429", tags(throttled())),
        ("500", tags(status(500))),
        ("closed before", tags(Action::CloseBefore)),
        ("closed after", tags(Action::CloseAfter)),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn token_that_expires_meanwhile_is_renewed() {
    let case: Case = Box::pin(async {
        let scene = Scene::busy(settings(), REQUIRED).await?;
        let taking = scene.taking();
        scene.polled().await?;
        scene.rig.lab.revoke_tokens();
        scene.is_whole(taking.await?).await?;
        Ok(())
    });
    let refused: Case = Box::pin(async {
        let mut scene = Scene::busy(settings(), AUTO).await?;
        let taking = scene.taking();
        scene.polled().await?;
        scene.rig.lab.inject(Fault {
            method: Some("POST".into()),
            path: "**/token".into(),
            skip: 0,
            times: 0,
            action: Action::Status {
                status: 401,
                code: Some("invalid_client".into()),
                message: Some("AADSTS7000222: The provided client secret keys are expired.".into()),
                retry_after: None,
            },
        });
        scene.rig.lab.revoke_tokens();
        let answer = taking.await?;
        scene.thawed().await?;
        let status = answer.expect_err("nobody may have the ID of a pending snapshot");
        ensure!(status.message().contains("AADSTS7000222"), "{status:?}");
        // Without a token nothing can be deleted; it says what it is, and is swept once there is one.
        scene.rig.lab.clear_faults();
        scene.is_swept_later().await
    });
    all([("expired", case), ("refused", refused)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshot_over_the_incremental_limit_is_deleted() {
    let case: Case = Box::pin(async {
        let mut settings = settings();
        settings.incremental.most = 1;
        let scene = Scene::busy(settings, REQUIRED).await?;
        let first = scene.take().await;
        let first = scene.is_whole(first).await?;
        let second = scene.take().await;
        scene.thawed().await?;
        let status = second.expect_err("the second is over the limit");
        ensure!(!status.message().is_empty());
        ensure!(scene.only_snapshot()?.id == first.id);
        Ok(())
    });
    all([("limit", case)]).await;
}

async fn background_copy(copy: Duration, config: &[(&str, &str)]) -> Result<Scene> {
    let mut settings: Settings = scene::settings();
    settings.snapshot.copy = copy;
    let rig = Rig::start(settings).await?;
    let disk = NewDisk {
        sku: Sku::PremiumV2Lrs,
        zone: Some("1".into()),
        ..NewDisk::new(rig.lab.disk_id("data"))
    };
    let volume = rig.volume_on(disk, Kind::Xfs)?;
    Scene::of(rig, volume, config).await
}

#[tokio::test(flavor = "multi_thread")]
async fn background_copy_is_awaited_thawed() {
    let awaited: Case = Box::pin(async {
        let scene = background_copy(seconds(2), REQUIRED).await?;
        let taking = scene.taking();
        until("the data is fixed", || {
            scene
                .rig
                .lab
                .snapshots()
                .iter()
                .any(|one| one.succeeded.is_some())
        })
        .await?;
        scene.thawed().await?;
        ensure!(!taking.is_finished(), "it did not wait for the copy");
        let snapshot = scene.is_whole(taking.await?).await?;
        ensure!(snapshot.completion_percent >= 100.0, "{snapshot:?}");
        ensure!(
            snapshot.tags["stillpoint-frozen-ms"].parse::<u64>()? < 1500,
            "{snapshot:?}"
        );
        Ok(())
    });
    let late: Case = Box::pin(async {
        let config = [("freeze", "required"), ("copyTimeout", "1s")];
        let scene = background_copy(seconds(60), &config).await?;
        let answer = scene.take().await;
        let snapshot = scene.is_whole(answer).await?;
        let reason = &snapshot.tags["stillpoint-reason"];
        ensure!(
            reason.contains("background copy was not complete"),
            "{reason}"
        );
        Ok(())
    });
    all([("in time", awaited), ("not in time", late)]).await;
}
