//! Azure refuses every write for a while: 429, to be tried again after a second.

use anyhow::Result;
use stillpoint_cluster::until;
use stillpoint_e2e::world::SOON;
use stillpoint_lab::{Action, Fault, Lab};

use crate::scene::Scene;

/// It is ridden out: a snapshot that was being made is tagged later, and what comes next is not frozen while it waits.
pub(crate) async fn writes_are_throttled_for_a_while(scene: &mut Scene) -> Result<()> {
    scene.frozen_after("throttled", 1).await?;
    throttle(&scene.world.lab, &["PUT", "PATCH", "DELETE"]);
    refused(&scene.world.lab, "PATCH", 2).await?;
    scene.world.lab.clear_faults();
    throttle(&scene.world.lab, &["PUT", "DELETE"]);
    for times in 1..=2 {
        refused(&scene.world.lab, "PUT", times).await?;
        scene.nothing_is_frozen().await?;
    }
    scene.world.lab.clear_faults();
    scene.ended("throttled").await?.is("Completed", 3, 0)
}

/// What cannot be tagged within `apiTimeout` is no snapshot, and cannot be deleted either: it stays pending.
pub(crate) async fn writes_are_throttled_for_longer_than_a_call(scene: &mut Scene) -> Result<()> {
    scene.frozen_after("throttled-for-long", 1).await?;
    throttle(&scene.world.lab, &["PUT", "PATCH", "DELETE"]);
    let ended = scene.ended("throttled-for-long").await?;
    scene.world.lab.clear_faults();
    ended.is("PartiallyFailed", 1, 1)
}

/// Every such request of snapshots, until the faults are cleared.
fn throttle(lab: &Lab, methods: &[&str]) {
    for method in methods {
        lab.inject(Fault {
            method: Some((*method).into()),
            path: "**/Microsoft.Compute/**".into(),
            skip: 0,
            times: 0,
            action: Action::Status {
                status: 429,
                code: None,
                message: None,
                retry_after: Some("1".into()),
            },
        });
    }
}

/// Waits until requests of that kind were refused so often.
async fn refused(lab: &Lab, method: &str, times: usize) -> Result<()> {
    until(&format!("{method} is throttled"), SOON, async || {
        let requests = lab.requests();
        let refused = requests
            .iter()
            .filter(|one| one.method == method && one.status == Some(429));
        Ok((refused.count() >= times).then_some(()))
    })
    .await
}
