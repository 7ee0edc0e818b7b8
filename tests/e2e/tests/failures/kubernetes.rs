//! Kubernetes cannot be asked for a while.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use stillpoint_cluster::Part;

use crate::scene::Scene;

const OUTAGE: Duration = Duration::from_secs(20);

pub(crate) async fn api_server_is_stopped(scene: &mut Scene) -> Result<()> {
    let volume = scene.frozen_after("api-server-stopped", 1).await?;
    let back = Instant::now() + OUTAGE;
    scene.stall(&volume)?;
    scene.world.cluster.stop(Part::ApiServer)?;
    // The freeze ends with the snapshot, not with the outage.
    scene.nothing_is_frozen().await?;
    ensure!(Instant::now() < back, "it was frozen all the time");
    scene.wait_until(back).await;
    scene.world.cluster.restart(Part::ApiServer).await?;
    let ended = scene.ended("api-server-stopped").await?;
    ended.is("PartiallyFailed", 2, 0)
}
