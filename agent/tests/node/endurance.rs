//! The supervisor where memory or process IDs have run out.

use std::{
    fs,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal};
use stillpoint_loopfs::Kind;
use stillpoint_proto::agent::StatusRequest;

use crate::{
    cgroup::Cgroup,
    harness::{Node, Writer, connect, eventually, is_dead},
};

const LIMIT: Duration = Duration::from_secs(20);

fn of(process: Pid, file: &str) -> String {
    fs::read_to_string(format!("/proc/{}/{file}", process.as_raw_nonzero())).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_supervisor_is_small_locked_in_memory_and_spared_before_its_worker() {
    let Some(node) = Node::with(&[]) else { return };
    let score = |process| -> i32 { of(process, "oom_score_adj").trim().parse().unwrap() };
    let locked = |process| {
        let status = of(process, "status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmLck:"));
        line.unwrap()
            .trim()
            .trim_end_matches(" kB")
            .parse::<u64>()
            .unwrap()
    };
    let worker = node.worker().unwrap();
    assert!(score(worker) > score(node.supervisor()));
    // Lowered where that is allowed.
    let told = node.log().contains("keeps its score");
    assert_eq!(score(node.supervisor()) == -1000, !told);
    assert!(locked(node.supervisor()) > 0);
    assert_eq!(locked(worker), 0);
    // Small: threads are the worker's.
    let threads = of(node.supervisor(), "status");
    assert!(threads.contains("\nThreads:\t1\n"), "{threads}");
}

#[tokio::test(flavor = "multi_thread")]
async fn out_of_memory_takes_the_worker_and_the_supervisor_thaws() {
    let Some(cgroup) = Cgroup::new("memory") else {
        return;
    };
    let Some(mut node) = Node::prepared(&Kind::ALL) else {
        return;
    };
    node.start_with(|command| cgroup.start(command));
    let hold = node.hold_all(LIMIT).await;
    let (supervisor, worker) = (node.supervisor(), node.worker().unwrap());
    let writer = Writer::start(node.volumes[0].path());
    assert!(writer.is_blocked());
    cgroup.limit_memory(Some(128 << 10));
    let begun = Instant::now();
    let mut asking = Vec::new();
    while !is_dead(worker) {
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "the worker lives on"
        );
        let mut client = connect(&node.socket()).await;
        asking.push(tokio::spawn(async move {
            let _ = client.status(StatusRequest {}).await;
        }));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let killed = Instant::now();
    writer.resumes();
    assert!(
        killed.elapsed() < Duration::from_secs(5),
        "{:?}",
        killed.elapsed()
    );
    assert!(begun.elapsed() < LIMIT, "not by the deadline");
    cgroup.limit_memory(None);
    node.answers(2);
    assert_eq!(node.supervisor(), supervisor);
    assert!(!is_dead(supervisor), "the supervisor is spared");
    assert!(node.log().contains("signal: 9"), "killed, not ended");
    eventually("the journal is empty", || node.entries().is_empty());
    assert!(node.volumes.iter().all(|volume| !volume.is_frozen()));
    drop(hold);
    let again = node.hold_all(LIMIT).await.release().await;
    assert!(again.volumes.iter().all(|thaw| thaw.held), "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_process_id_for_a_child_the_supervisor_thaws_by_itself() {
    let Some(cgroup) = Cgroup::new("pids") else {
        return;
    };
    let Some(node) = Node::with(&[Kind::Ext4, Kind::Xfs]) else {
        return;
    };
    let begun = Instant::now();
    let hold = node.hold_all(Duration::from_secs(1)).await;
    cgroup.add(node.supervisor());
    cgroup.limit_processes(1);
    node.signal_worker(Signal::STOP);
    for volume in &node.volumes {
        Writer::start(volume.path()).resumes();
    }
    assert!(
        begun.elapsed() < Duration::from_secs(4),
        "{:?}",
        begun.elapsed()
    );
    assert!(node.log().contains("no child to thaw from"));
    node.signal_worker(Signal::CONT);
    assert!(hold.thawed().await.volumes.iter().all(|thaw| !thaw.held));
    eventually("the journal is empty", || node.entries().is_empty());
}
