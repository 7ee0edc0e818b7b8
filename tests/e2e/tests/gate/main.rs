//! The gate on the real path of CSI snapshots: VolumeSnapshot, snapshot-controller, csi-snapshotter, API server, driver.
//!
//! After each fault: nothing is frozen, and the verdict says no more than what the copy is.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod faults;
mod forged;
mod group;
mod premium_v2;
mod scene;
mod service;
mod velero;
mod wishes;

use std::time::Duration;

use anyhow::Result;
use stillpoint_e2e::{Options, World, csi::Maker, gate::GateOptions, public_cloud};

use scene::Scene;

/// The parts of a test, one after the other in one world.
async fn all(options: Options) -> Result<()> {
    let driver = matches!(options.snapshots, Some(Maker::AzureDisk(_)));
    let gate = GateOptions {
        freeze_timeout: "3s",
        ..GateOptions::default()
    };
    let mut scene = Scene::start(options, gate).await?;
    let ended = async {
        faults::none(&scene).await?;
        wishes::all(&mut scene).await?;
        forged::review(&scene).await?;
        premium_v2::copy_in_the_background_is_not_waited_for(&scene).await?;
        if !driver {
            group::volumes_of_a_group_are_held_together(&scene).await?;
        }
        faults::all(&mut scene, driver).await?;
        if !driver {
            scene.world.gate_has_needed_its_roles().await?;
        }
        Ok(())
    };
    let ended = ended.await;
    scene.explained(ended)
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_by_the_stand_in_are_held_and_tell_the_truth() {
    if let Some(why) = World::missing() {
        eprintln!("SKIPPED: {why}");
        return;
    }
    let options = Options {
        snapshots: Some(Maker::StandIn(Duration::from_secs(2))),
        ..Options::default()
    };
    all(options).await.unwrap();
}

#[test]
fn snapshots_by_azure_disk_are_held_and_tell_the_truth() {
    const NAME: &str = "snapshots_by_azure_disk_are_held_and_tell_the_truth";
    let Some(maker) = Maker::azure_disk().unwrap() else {
        eprintln!("SKIPPED: no azuredisk-csi-driver: AZUREDISK_PLUGIN=PATH names one");
        return;
    };
    if let Some(why) = World::missing() {
        eprintln!("SKIPPED: {why}");
        return;
    }
    let test = public_cloud::run(NAME, async |namespace| {
        let options = Options {
            snapshots: Some(maker),
            ..Options::default().public(namespace)
        };
        all(options).await
    });
    test.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_azure_the_first_handle_releases() {
    if let Some(why) = World::missing() {
        eprintln!("SKIPPED: {why}");
        return;
    }
    let options = Options {
        snapshots: Some(Maker::StandIn(Duration::from_secs(1))),
        ..Options::default()
    };
    let gate = GateOptions {
        azure: false,
        ..GateOptions::default()
    };
    let scene = Scene::start(options, gate).await.unwrap();
    let ended = faults::without_azure(&scene).await;
    scene.explained(ended).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn velero_backs_up_frozen_volumes_by_both_paths_and_restores_them_into_another_zone() {
    if let Some(why) = World::missing() {
        eprintln!("SKIPPED: {why}");
        return;
    }
    let options = Options {
        snapshots: Some(Maker::StandIn(Duration::from_millis(200))),
        flags: vec![format!("--item-block-worker-count={}", velero::WORKERS)],
        // Velero asks for a handle every second, not every five.
        variables: vec![("CSI_SNAPSHOT_EARLY_FREQUENT_POLLING".into(), "true".into())],
        ..Options::default()
    };
    let mut world = World::start(options).await.unwrap();
    let gate = world.start_gate(&GateOptions::default()).await.unwrap();
    if let Err(error) = velero::life(&mut world).await {
        panic!("{error:?}\n{}\n{}", gate.log(), world.velero.log());
    }
}
