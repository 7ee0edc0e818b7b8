//! The agent of a node is killed while it holds a volume.

use anyhow::Result;

use crate::scene::Scene;

/// The filesystem stays frozen until the agent is there again, which thaws it at once. The hold was lost, and `freeze` is
/// `required`: that volume has no snapshot, and the others have theirs.
pub(crate) async fn agent_is_killed(scene: &mut Scene) -> Result<()> {
    let volume = scene.frozen_after("agent-killed", 1).await?;
    scene.world.agent(&volume.node)?.kill_container();
    scene.world.restart_agent(&volume.node).await?;
    scene.nothing_is_frozen().await?;
    let ended = scene.ended("agent-killed").await?;
    ended.is("PartiallyFailed", 2, 0)
}
