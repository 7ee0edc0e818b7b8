//! The agent of a node is killed while it holds a volume; another is told to end.

use anyhow::Result;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams},
};
use serde_json::json;
use stillpoint_cluster::until;
use stillpoint_e2e::world::SOON;

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

/// The Lease of an agent that ends goes with it, although somebody has written to it since; the next agent's is another.
pub(crate) async fn lease_goes_with_its_agent(scene: &mut Scene) -> Result<()> {
    let leases: Api<Lease> = Api::namespaced(scene.world.client(), "velero");
    let name = "stillpoint-agent-node-1";
    let label = json!({ "metadata": { "labels": { "somebody": "was-here" } } });
    let params = PatchParams::default();
    let before = leases.patch(name, &params, &Patch::Merge(label)).await?;
    scene.world.restart_agent("node-1").await?;
    until("there is another Lease", SOON, async || {
        let lease = leases.get_opt(name).await?;
        Ok(lease.filter(|lease| lease.uid() != before.uid()))
    })
    .await?;
    Ok(())
}
