//! What the kubelet is told.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::Command,
    time::Duration,
};

use rustix::process::{Signal, kill_process};
use stillpoint_loopfs::Kind;

use crate::harness::{Node, PATIENCE, eventually};

/// The status and the body, or why there is no answer.
fn get(address: SocketAddr, path: &str) -> Result<(u16, String), std::io::Error> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: agent\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer.split_whitespace().nth(1).unwrap_or_default();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    Ok((status.parse().unwrap_or_default(), body.to_owned()))
}

/// Where the worker that was started last answers probes.
fn address(node: &Node) -> SocketAddr {
    let log = node.log();
    let line = log
        .lines()
        .rfind(|line| line.contains("probes are answered"));
    let (_, address) = line.unwrap().rsplit_once("listen=").unwrap();
    address.trim().parse().unwrap()
}

fn started(kinds: &[Kind], journal: Option<&str>) -> Option<Node> {
    let mut node = Node::prepared(kinds)?;
    if let Some(options) = journal {
        fs::create_dir_all(node.journal()).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(node.journal())
            .status();
        assert!(mounted.unwrap().success());
    }
    node.start_with(|command| {
        command.args(["--probes", "127.0.0.1:0"]);
    });
    Some(node)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_supervisor_that_sleeps_fails_liveness_and_nothing_is_frozen_without_it() {
    let Some(node) = started(&[Kind::Ext4], None) else {
        return;
    };
    let address = address(&node);
    let ok = (200, "ok\n".to_owned());
    assert_eq!(get(address, "/healthz").unwrap(), ok);
    assert_eq!(get(address, "/readyz").unwrap(), ok);

    kill_process(node.supervisor(), Signal::STOP).unwrap();
    eventually("liveness fails", || {
        let (status, body) = get(address, "/healthz").unwrap();
        status == 503 && body.contains("supervisor: it has not answered")
    });
    let hold = node.hold_all(Duration::from_secs(10)).await;
    let refused = hold.refused(0);
    assert!(refused.message.contains("supervisor"), "{refused:?}");
    assert!(!node.volumes[0].is_frozen());

    kill_process(node.supervisor(), Signal::CONT).unwrap();
    eventually("liveness is back", || {
        get(address, "/healthz").unwrap() == ok
    });
    let hold = node.hold_all(Duration::from_secs(10)).await;
    assert!(hold.release().await.volumes[0].held);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_journal_refuses_holds_fails_readiness_and_harms_nothing() {
    let Some(node) = started(&[Kind::Ext4], Some("size=64k")) else {
        return;
    };
    let _unmount = Unmount(&node);
    let address = address(&node);
    assert_eq!(get(address, "/readyz").unwrap().0, 200);
    let held = node.hold_all(Duration::from_secs(20)).await;
    let filler = node.journal().join("filler");
    fs::write(&filler, vec![7; 1 << 20]).unwrap_err();

    let (status, body) = get(address, "/readyz").unwrap();
    assert_eq!(status, 503, "{body}");
    assert!(body.contains("journal") && body.contains("space"), "{body}");
    assert_eq!(get(address, "/healthz").unwrap().0, 200);
    assert!(held.release().await.volumes[0].held, "what was held before");
    // The page that its entry had is free again.
    fs::File::options()
        .append(true)
        .open(&filler)
        .unwrap()
        .write_all(&[7; 1 << 20])
        .unwrap_err();
    let hold = node.hold_all(Duration::from_secs(10)).await;
    let refused = hold.refused(0);
    assert!(refused.message.contains("write down"), "{refused:?}");
    assert!(!node.volumes[0].is_frozen());

    fs::remove_file(&filler).unwrap();
    assert_eq!(get(address, "/readyz").unwrap().0, 200);
    assert_eq!(node.entries().len(), 0, "{:?}", node.entries());
    let hold = node.hold_all(Duration::from_secs(10)).await;
    assert!(hold.release().await.volumes[0].held);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_hangs_is_replaced() {
    let Some(node) = started(&[], None) else {
        return;
    };
    let before = address(&node);
    node.signal_worker(Signal::STOP);
    get(before, "/healthz").expect_err("nobody answers");
    node.answers(2);
    assert_eq!(get(address(&node), "/readyz").unwrap().0, 200);
    assert!(node.log().contains("the worker hangs"));
}

struct Unmount<'a>(&'a Node);

impl Drop for Unmount<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount")
            .arg("--lazy")
            .arg(self.0.journal())
            .status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_node_froze_and_refused_is_counted() {
    let Some(node) = started(&[Kind::Ext4], None) else {
        return;
    };
    let address = address(&node);
    let counted = |line: &str| {
        let (status, text) = get(address, "/metrics").unwrap();
        assert_eq!(status, 200);
        let seen = text
            .lines()
            .any(|seen| seen == format!("stillpoint_agent_{line}"));
        assert!(seen, "{line}: {text}");
    };
    counted("freezes_total 0");
    counted(r#"refusals_total{reason="foreign"} 0"#);
    let run = |command: &str, path: &Path| {
        node.command(command).arg(path).output().unwrap();
    };
    let path = node.volumes[0].path();
    run("freeze", path);
    counted("frozen_filesystems 1");
    run("thaw", path);
    counted("frozen_filesystems 0");
    counted("freezes_total 1");
    counted("frozen_seconds_count 1");
    counted(r#"broken_freezes_total{reason="limit_passed"} 0"#);
    run("freeze", Path::new("/"));
    counted(r#"refusals_total{reason="protected"} 1"#);
}
