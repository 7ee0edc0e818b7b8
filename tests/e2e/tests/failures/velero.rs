//! Velero's server, or the plugin that it runs, is killed.

use std::time::Duration;

use anyhow::{Result, ensure};
use stillpoint_cluster::until;
use stillpoint_e2e::world::SOON;
use stillpoint_lab::{Action, Fault};
use stillpoint_system::programs;

use crate::scene::{NAMESPACE, Scene};

/// A server that starts fails what was in progress, and what it had not written down it has forgotten: the snapshots
/// that the backup had already taken too.
pub(crate) async fn server_is_killed(scene: &mut Scene) -> Result<()> {
    scene.frozen_after("server-killed", 1).await?;
    scene.world.velero.kill();
    // Long before a server is there again.
    scene.nothing_is_frozen().await?;
    scene.world.velero.start().await?;
    let ended = scene.ended("server-killed").await?;
    ended.is("Failed", 0, 2)?;
    let why = ended.status["failureReason"].as_str().unwrap_or_default();
    ensure!(why.contains("during the server starting"), "{why}");
    let states = ended.left.iter().map(|one| &one.tags["stillpoint-state"]);
    let mut states: Vec<_> = states.collect();
    states.sort_unstable();
    ensure!(states == ["complete", "pending"], "{states:?}");
    Ok(())
}

/// The call fails, and with it one item; the server starts the plugin again for the other volumes.
pub(crate) async fn plugin_is_killed(scene: &mut Scene) -> Result<()> {
    scene.frozen_after("plugin-killed", 1).await?;
    scene.world.velero.kill_plugin(programs::PLUGIN)?;
    scene.nothing_is_frozen().await?;
    let ended = scene.ended("plugin-killed").await?;
    ended.is("PartiallyFailed", 2, 1)?;
    ensure!(ended.left[0].tags["stillpoint-state"] == "pending");
    Ok(())
}

/// The snapshot is complete, and Velero never hears its ID: only its record tells that it is nobody's.
pub(crate) async fn plugin_is_killed_before_it_answers(scene: &mut Scene) -> Result<()> {
    let lab = &scene.world.lab;
    lab.clear_requests();
    lab.inject(Fault {
        method: Some("PATCH".into()),
        path: "**/snapshots/*".into(),
        skip: 1,
        times: 1,
        action: Action::DelayAnswer {
            by: Duration::from_secs(20),
        },
    });
    scene.world.begin_backup("not-said", NAMESPACE).await?;
    until("two snapshots are complete", SOON, async || {
        let snapshots = lab.snapshots();
        let complete = snapshots.iter().filter(|one| {
            one.tags["velero.io-backup"] == "not-said" && one.tags["stillpoint-state"] == "complete"
        });
        Ok((complete.count() == 2).then_some(()))
    })
    .await?;
    scene.world.velero.kill_plugin(programs::PLUGIN)?;
    let ended = scene.ended("not-said").await?;
    ended.is("PartiallyFailed", 2, 1)?;
    ensure!(ended.left[0].tags["stillpoint-state"] == "complete");
    Ok(())
}
