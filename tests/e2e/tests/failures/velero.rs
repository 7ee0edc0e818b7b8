//! Velero's server, or the plugin that it runs, is killed.

use anyhow::{Result, ensure};
use stillpoint_system::programs;

use crate::scene::Scene;

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
