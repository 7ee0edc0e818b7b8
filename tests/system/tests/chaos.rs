//! A short fault campaign. `make chaos` runs a long one.

use stillpoint_system::chaos::{Options, run};

#[test]
fn nothing_stays_frozen_and_no_snapshot_is_lost_orphaned_or_mislabelled() {
    if let Some(why) = stillpoint_loopfs::missing() {
        eprintln!("SKIPPED: {why}");
        return;
    }
    let options = Options {
        rounds: 40,
        seed: 20,
        lanes: 3,
        only: None,
    };
    let tally = run(&options).expect("the campaign runs");
    println!("{tally}");
    assert!(tally.failures().is_empty(), "{tally}");
    assert!(tally.rounds() > 30, "{tally}");
}
