//! Something breaks in the middle of a backup, while a filesystem is frozen and Azure makes its snapshot: the backup's
//! phase tells the truth, nothing stays frozen, and every snapshot is a backup's or swept at the next start.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod azure;
mod kubernetes;
mod node;
mod scene;
mod snapshots;
mod velero;

use anyhow::Result;
use stillpoint_e2e::{Plugin, World};

use scene::Scene;

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_in_the_middle_of_a_backup_is_told_and_leaves_nothing() {
    if let Some(why) = World::missing() {
        eprintln!("SKIPPED: {why}");
        return;
    }
    let mut scene = Scene::start().await.unwrap();
    if let Err(error) = all(&mut scene).await {
        panic!("{error:?}\n{}", scene.world.velero.log());
    }
}

/// Each leaves what the next start of the plugin sweeps, so the next one shows that it does.
async fn all(scene: &mut Scene) -> Result<()> {
    azure::writes_are_throttled_for_longer_than_a_call(scene).await?;
    // From here on with the default of minutes, which the server that is started next sees.
    let settings = Plugin::Stillpoint.settings();
    scene.world.snapshot_location(settings).await?;
    velero::server_is_killed(scene).await?;
    velero::plugin_is_killed(scene).await?;
    velero::plugin_is_killed_before_it_answers(scene).await?;
    node::agent_is_killed(scene).await?;
    kubernetes::api_server_is_stopped(scene).await?;
    azure::writes_are_throttled_for_a_while(scene).await?;
    // So that pods, claims and namespaces are asked too.
    let settings = [("freeze", "auto")];
    scene.world.snapshot_location(&settings).await?;
    scene.nothing_breaks().await?;
    node::lease_goes_with_its_agent(scene).await?;
    let world = &scene.world;
    world
        .has_needed_its_roles("velero", "stillpoint-plugin")
        .await?;
    world
        .has_needed_its_roles("stillpoint-agent", "stillpoint-agent")
        .await
}
