//! Velero moved from the stock Azure plugin to ours: what that backed up is restored, and deleted, by ours, with the same
//! locations and credentials.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod life;

use stillpoint_e2e::{Plugin, World};
use stillpoint_system::namespace;

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
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if namespace::is_inside() {
        let namespace = namespace::prepare().unwrap();
        runtime.block_on(life::run(&namespace, &stock)).unwrap();
        return;
    }
    // In there nothing can be fetched.
    runtime.block_on(stillpoint_cluster::build()).unwrap();
    let mut again = namespace::command().unwrap();
    let status = again.args(["--exact", NAME, "--nocapture"]).status();
    assert!(status.unwrap().success(), "it failed in there");
}
