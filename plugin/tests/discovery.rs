//! What a start of Velero's server costs: one process per plugin, from start to end.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::env;

use stillpoint_lab::host::Host;

/// Bounds for an unoptimized program on a busy machine; `make bench` has the real ones.
#[tokio::test]
async fn discovery_is_fast_and_small() {
    let program = env::var_os("STILLPOINT_PLUGIN")
        .unwrap_or_else(|| env!("CARGO_BIN_EXE_velero-plugin-stillpoint").into());
    let host = Host::new(&program);
    let mut discoveries = Vec::new();
    for _ in 0..50 {
        discoveries.push(host.discover().await.unwrap());
    }
    discoveries.sort_by_key(|discovery| discovery.took);
    let median = &discoveries[25];
    println!(
        "start to list: median {:?}, best {:?}; end {:?}; {} KiB resident",
        median.took,
        discoveries[0].took,
        median.ended.took,
        median.usage.peak_resident >> 10,
    );
    assert!(median.usage.peak_resident < 40 << 20, "{median:?}");
    assert!(discoveries.iter().all(|discovery| !discovery.ended.killed));
}
