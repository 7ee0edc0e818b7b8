//! Whoever dies, or hangs, between freeze and thaw: nothing stays frozen.

use std::{
    fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Signal, kill_process};
use stillpoint_loopfs::Kind;

use crate::harness::{Hold, Node, PATIENCE, Writer, connect, eventually, is_dead};

const LIMIT: Duration = Duration::from_secs(20);

fn thawed(node: &Node) {
    eventually("all is thawed", || {
        node.volumes.iter().all(|volume| !volume.is_frozen())
    });
    eventually("the journal is empty", || node.entries().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_connection_thaws() {
    let Some(node) = Node::with(&[Kind::Ext4]) else {
        return;
    };
    let hold = node.hold_all(LIMIT).await;
    assert!(node.volumes[0].is_frozen());
    // The only user of its connection.
    drop(hold);
    thawed(&node);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_call_on_a_living_connection_thaws() {
    let Some(node) = Node::with(&[Kind::Ext4]) else {
        return;
    };
    let mut client = node.client().await;
    let hold = Hold::begin(&mut client, &[&node.volumes[0].handle], LIMIT)
        .await
        .unwrap();
    assert!(node.volumes[0].is_frozen());
    drop(hold);
    thawed(&node);
    drop(client);
}

/// Not a test: the client that `a_killed_client_thaws` kills.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by another test"]
async fn client_process() {
    let Ok(socket) = std::env::var("TEST_SOCKET") else {
        return;
    };
    let handle = std::env::var("TEST_VOLUME").unwrap();
    let mut client = connect(socket.as_ref()).await;
    let _hold = Hold::begin(&mut client, &[&handle], LIMIT).await.unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_client_thaws() {
    let Some(node) = Node::with(&[Kind::Xfs]) else {
        return;
    };
    let mut client = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "death::client_process"])
        .env("TEST_SOCKET", node.socket())
        .env("TEST_VOLUME", &node.volumes[0].handle)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    // A look with a freeze could come in the way of the client's.
    eventually("the client's hold is frozen", || {
        node.log().contains("INFO frozen")
    });
    assert!(node.volumes[0].is_frozen());
    client.kill().unwrap();
    client.wait().unwrap();
    thawed(&node);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_is_thawed_after_and_replaced() {
    for kind in Kind::ALL {
        let Some(node) = Node::with(&[kind]) else {
            return;
        };
        let mut hold = node.hold_all(LIMIT).await;
        let writer = Writer::start(node.volumes[0].path());
        let killed = Instant::now();
        node.signal_worker(Signal::KILL);
        writer.resumes();
        assert!(
            killed.elapsed() < Duration::from_secs(5),
            "{kind}: {:?}",
            killed.elapsed()
        );
        assert!(
            hold.events.message().await.is_err(),
            "{kind}: the client learns of it"
        );
        thawed(&node);
        node.answers(2);
        assert!(
            node.hold_all(LIMIT).await.release().await.volumes[0].held,
            "{kind}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_while_it_freezes_leaves_nothing_frozen() {
    let Some(node) = Node::with(&[Kind::Ext4, Kind::Xfs]) else {
        return;
    };
    // Dirty data makes the freeze take time; the kill comes at another moment of it each time.
    for (start, delay) in [0, 1, 2, 5, 10, 20, 40, 80].into_iter().enumerate() {
        node.answers(start + 1);
        for volume in &node.volumes {
            fs::write(volume.path().join("dirty"), vec![7; 8 << 20]).unwrap();
        }
        let handles: Vec<_> = node.volumes.iter().map(|v| v.handle.clone()).collect();
        let mut client = node.client().await;
        let holding = tokio::spawn(async move {
            let handles: Vec<_> = handles.iter().map(String::as_str).collect();
            Hold::begin(&mut client, &handles, LIMIT).await
        });
        tokio::time::sleep(Duration::from_millis(delay)).await;
        node.signal_worker(Signal::KILL);
        let hold = holding.await.unwrap();
        thawed(&node);
        drop(hold);
    }
    for pause in ["100ms", "200ms", "400ms", "800ms"] {
        let pause = format!("pause={pause}");
        assert_eq!(node.log().matches(&pause).count(), 1, "{pause}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_worker_is_overtaken_by_the_supervisor() {
    let Some(node) = Node::with(&[Kind::Ext4]) else {
        return;
    };
    let begun = Instant::now();
    let hold = node.hold_all(Duration::from_secs(1)).await;
    node.signal_worker(Signal::STOP);
    let writer = Writer::start(node.volumes[0].path());
    writer.resumes();
    let waited = begun.elapsed();
    assert!(
        waited >= Duration::from_millis(1500),
        "the worker's half a second: {waited:?}"
    );
    assert!(waited < Duration::from_secs(3), "{waited:?}");
    node.signal_worker(Signal::CONT);
    let thaw = hold.thawed().await.volumes.remove(0);
    assert!(!thaw.held && thaw.reason.contains("limit"), "{thaw:?}");
    thawed(&node);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_worker_does_not_keep_the_agent_from_ending() {
    let Some(mut node) = Node::with(&[Kind::Ext4]) else {
        return;
    };
    let hold = node.hold_all(Duration::from_secs(60)).await;
    node.signal_worker(Signal::STOP);
    let status = node.terminate();
    assert!(status.success(), "{status}");
    thawed(&node);
    drop(hold);
}

#[tokio::test(flavor = "multi_thread")]
async fn sigint_thaws_tells_the_client_and_ends() {
    let Some(mut node) = Node::with(&Kind::ALL) else {
        return;
    };
    let hold = node.hold_all(LIMIT).await;
    let writer = Writer::start(node.volumes[0].path());
    kill_process(node.supervisor(), Signal::INT).unwrap();
    for thaw in hold.thawed().await.volumes {
        assert!(!thaw.held && thaw.reason.contains("stopping"), "{thaw:?}");
    }
    writer.resumes();
    assert!(node.terminate().success());
    thawed(&node);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_supervisor_makes_its_worker_thaw_and_end() {
    let Some(mut node) = Node::with(&[Kind::Btrfs]) else {
        return;
    };
    let hold = node.hold_all(LIMIT).await;
    let worker = node.worker().unwrap();
    kill_process(node.supervisor(), Signal::KILL).unwrap();
    assert!(!hold.thawed().await.volumes[0].held);
    thawed(&node);
    eventually("the worker ends", || is_dead(worker));
    node.kill_all();
    node.start();
    assert!(node.hold_all(LIMIT).await.release().await.volumes[0].held);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_let_go_before_frozen_is_undone() {
    let Some(node) = Node::with(&[Kind::Ext4]) else {
        return;
    };
    for delay in [0, 1, 3, 10, 30] {
        fs::write(node.volumes[0].path().join("dirty"), vec![7; 8 << 20]).unwrap();
        let mut client = node.client().await;
        let handles = [node.volumes[0].handle.as_str()];
        let begin = Hold::begin(&mut client, &handles, LIMIT);
        drop(tokio::time::timeout(Duration::from_millis(delay), begin).await);
        thawed(&node);
    }
    assert!(Instant::now().elapsed() < PATIENCE);
}
