//! Many volumes at once, and volumes that are not like the others.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod block;
mod crowd;
mod hooks;
mod unmounted;

use std::time::Duration;

use anyhow::Result;
use stillpoint_e2e::{Options, World};

/// Of Velero's server.
const WORKERS: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn each_volume_gets_the_snapshot_that_it_can_have() {
    if let Some(why) = World::missing() {
        eprintln!("SKIPPED: {why}");
        return;
    }
    let mut options = Options {
        location: vec![("freeze", "auto")],
        flags: vec![format!("--item-block-worker-count={WORKERS}")],
        ..Options::default()
    };
    options.lab.snapshot.duration = Duration::from_secs(1);
    let mut world = World::start(options).await.unwrap();
    if let Err(error) = all(&mut world).await {
        panic!("{error:?}\n{}", world.velero.log());
    }
}

async fn all(world: &mut World) -> Result<()> {
    unmounted::volume_of_a_pod_that_is_scaled_to_zero_needs_no_freeze(world).await?;
    block::raw_device_cannot_be_frozen(world).await?;
    hooks::filesystem_that_a_hook_froze_is_left_to_the_hook(world).await?;
    crowd::fifty_volumes_are_frozen_by_as_many_workers_as_there_are(world).await
}
