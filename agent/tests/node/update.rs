//! A rolling update: the old agent is told to end while it holds, and the new one comes.

use std::{
    process::Child,
    time::{Duration, Instant},
};

use rustix::process::{Signal, kill_process};
use stillpoint_loopfs::Kind;

use crate::harness::{Hold, Node, eventually};

const LIMIT: Duration = Duration::from_secs(60);

/// Waits for a start that must fail.
fn refused(mut agent: Child) {
    let status = agent.wait().unwrap();
    assert!(!status.success(), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_during_a_hold_breaks_nothing_and_the_new_agent_follows() {
    let Some(mut node) = Node::with(&Kind::ALL) else {
        return;
    };
    let hold = node.hold_all(LIMIT).await;
    kill_process(node.supervisor(), Signal::TERM).unwrap();
    eventually("it has been told", || {
        node.log().contains("holds may end within")
    });
    // A pod that was deleted by force is replaced while it still runs.
    refused(node.serve().spawn().unwrap());
    assert!(node.log().contains("another agent uses it"));
    assert!(node.volumes.iter().all(|volume| volume.is_frozen()));

    let mut client = node.client().await;
    let late = Hold::begin(&mut client, &[&node.volumes[0].handle], LIMIT).await;
    let status = late.err().expect("nothing new is begun");
    assert_eq!(status.code(), tonic::Code::Unavailable, "{status}");

    let thawed = hold.release().await;
    assert!(thawed.volumes.iter().all(|thaw| thaw.held), "{thawed:?}");
    assert!(node.terminate().success());
    assert!(node.volumes.iter().all(|volume| !volume.is_frozen()));
    node.start();
    let again = node.hold_all(LIMIT).await.release().await;
    assert!(again.volumes.iter().all(|thaw| thaw.held), "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_outlasts_the_end_of_its_agent_is_thawed_and_told() {
    let Some(mut node) = Node::with(&[Kind::Xfs]) else {
        return;
    };
    let begun = Instant::now();
    let hold = node.hold_all(LIMIT).await;
    kill_process(node.supervisor(), Signal::TERM).unwrap();
    let path = node.volumes[0].path().join("file");
    let written = tokio::task::spawn_blocking(|| std::fs::write(path, "after"));
    written.await.unwrap().unwrap();
    let thaw = hold.thawed().await.volumes.remove(0);
    assert!(!thaw.held && thaw.reason.contains("stopping"), "{thaw:?}");
    assert!(node.terminate().success());
    assert!(
        begun.elapsed() < Duration::from_secs(30),
        "within the time that a pod is given"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_killed_with_its_container_is_thawed_by_the_next_during_the_hold() {
    let Some(mut node) = Node::with(&[Kind::Ext4]) else {
        return;
    };
    let hold = node.hold_all(LIMIT).await;
    node.kill_all();
    node.start();
    assert!(!node.volumes[0].is_frozen());
    // The client of the dead one holds nothing any more, and does not hinder the next.
    let again = node.hold_all(LIMIT).await;
    assert_ne!(again.frozen(0).device, "");
    drop(hold);
    assert!(again.release().await.volumes[0].held);
}
