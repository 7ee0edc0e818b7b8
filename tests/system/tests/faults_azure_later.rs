//! Azure fails once it has taken the snapshot on: polls, tags, logins, limits, background copies.

use std::time::Duration;

use anyhow::{Result, ensure};
use stillpoint_lab::{Action, Fault, NewDisk, Settings, Sku};
use stillpoint_loopfs::Kind;
use stillpoint_system::{
    rig::Rig,
    scene::{self, Case, Scene, all, fault, overcome, settings, status, throttled, until},
};

const AUTO: &[(&str, &str)] = &[("freeze", "auto")];
const REQUIRED: &[(&str, &str)] = &[("freeze", "required")];

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
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
