//! CSI snapshots as they are without a gate: none of them frozen, by hand or by Velero.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod life;

use std::time::Duration;

use stillpoint_e2e::{Options, World, csi::Maker, public_cloud};

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_by_the_stand_in_are_ready_and_restored_into_another_zone() {
    if let Some(why) = World::missing() {
        eprintln!("SKIPPED: {why}");
        return;
    }
    let options = Options {
        snapshots: Some(Maker::StandIn(Duration::from_millis(200))),
        ..Options::default()
    };
    life::run(options).await.unwrap();
}

#[test]
fn snapshots_by_azure_disk_are_ready_and_restored_into_another_zone() {
    const NAME: &str = "snapshots_by_azure_disk_are_ready_and_restored_into_another_zone";
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
        life::run(options).await
    });
    test.unwrap();
}
