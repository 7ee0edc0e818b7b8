//! Velero moved from the stock Azure plugin to ours: what that backed up is restored, and deleted, by ours, with the same
//! locations and credentials.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod life;

use stillpoint_e2e::{Plugin, World, public_cloud};

/// The stock plugin knows the public cloud only, so that this happens in a namespace where its names lead to the lab.
#[test]
fn a_backup_of_the_stock_plugin_is_restored_and_deleted_under_its_name() {
    const NAME: &str = "a_backup_of_the_stock_plugin_is_restored_and_deleted_under_its_name";
    let Some(stock) = Plugin::stock().unwrap() else {
        eprintln!("SKIPPED: no stock plugin: STOCK_PLUGIN=PATH names one");
        return;
    };
    if let Some(why) = World::missing() {
        eprintln!("SKIPPED: {why}");
        return;
    }
    let test = public_cloud::run(NAME, async |namespace| life::run(namespace, &stock).await);
    test.unwrap();
}
