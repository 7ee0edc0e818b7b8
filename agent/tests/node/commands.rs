//! `freeze`, `thaw` and `status` as a person or a hook runs them.

use std::{
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, Output},
    time::Duration,
};

use stillpoint_loopfs::Kind;

use crate::harness::{Node, eventually, fsfreeze};

fn freeze(node: &Node, path: &Path, ttl: &str) -> Output {
    node.command("freeze")
        .arg(path)
        .args(["--ttl", ttl])
        .output()
        .unwrap()
}

fn thaw(node: &Node, path: &Path) -> Output {
    node.command("thaw").arg(path).output().unwrap()
}

fn expect(output: &Output, code: i32, message: &str) {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    let text = String::from_utf8_lossy(&text);
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(text.contains(message), "expected {message:?}: {text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn freeze_and_thaw_are_one_hold() {
    let Some(node) = Node::with(&[Kind::Ext4]) else {
        return;
    };
    let path = node.volumes[0].path();
    expect(&freeze(&node, path, "30s"), 0, "frozen");
    assert!(node.volumes[0].is_frozen());
    let status = node.status().await;
    assert_eq!(status.holds.len(), 1, "{status:?}");
    assert!(status.holds[0].holder.starts_with("uid:"), "{status:?}");
    expect(&freeze(&node, path, "30s"), 3, "thaw it first");
    expect(&thaw(&node, path), 0, "thawed");
    assert!(!node.volumes[0].is_frozen());
    expect(&thaw(&node, path), 3, "nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ttl_thaws_and_thaw_tells_of_it() {
    let Some(node) = Node::with(&[Kind::Ext4]) else {
        return;
    };
    let path = node.volumes[0].path();
    expect(&freeze(&node, path, "1s"), 0, "frozen");
    eventually("the ttl has passed", || !node.volumes[0].is_frozen());
    expect(&thaw(&node, path), 5, "limit of 1s");
    expect(&thaw(&node, path), 3, "nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_thaw_is_told() {
    let Some(node) = Node::with(&[Kind::Xfs]) else {
        return;
    };
    let path = node.volumes[0].path();
    expect(&freeze(&node, path, "30s"), 0, "frozen");
    fsfreeze("--unfreeze", path);
    expect(&thaw(&node, path), 5, "someone else");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ttl_hold_is_found_though_its_filesystem_was_unmounted() {
    let Some(node) = Node::with(&[Kind::Ext4]) else {
        return;
    };
    let path = node.volumes[0].path();
    expect(&freeze(&node, path, "30s"), 0, "frozen");
    assert!(
        Command::new("umount")
            .arg("--lazy")
            .arg(path)
            .status()
            .unwrap()
            .success()
    );
    expect(&thaw(&node, path), 0, "thawed");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_paths_and_values_are_refused() {
    let Some(node) = Node::with(&[]) else { return };
    for (path, ttl, code, message) in [
        ("/", "30s", 3, "never frozen"),
        ("/does/not/exist", "30s", 3, "/does/not/exist"),
        ("/proc", "30s", 3, "cannot be frozen"),
        ("/proc", "61s", 2, "1s to 60s"),
        ("/proc", "30", 2, "as in 30s"),
    ] {
        expect(&freeze(&node, path.as_ref(), ttl), code, message);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_agent_the_socket_is_named() {
    let Some(mut node) = Node::with(&[]) else {
        return;
    };
    assert!(node.terminate().success());
    for command in ["status", "freeze", "thaw"] {
        let mut command = node.command(command);
        if !command.get_args().any(|arg| arg == "status") {
            command.arg("/");
        }
        expect(
            &command.output().unwrap(),
            4,
            node.socket().to_str().unwrap(),
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn status_shows_volumes_and_why_not() {
    let Some(node) = Node::with(&[Kind::Ext4, Kind::Xfs]) else {
        return;
    };
    fsfreeze("--freeze", node.volumes[0].path());
    let output = node.command("status").output().unwrap();
    for volume in &node.volumes {
        expect(&output, 0, &volume.handle);
        expect(&output, 0, volume.path().to_str().unwrap());
    }
    fsfreeze("--unfreeze", node.volumes[0].path());
    let hold = node.hold_all(Duration::from_secs(10)).await;
    let output = node.command("status").arg("--json").output().unwrap();
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value["mounts"][0]["frozen"], true, "{value:#}");
    assert_eq!(
        value["holds"][0]["volumes"].as_array().unwrap().len(),
        2,
        "{value:#}"
    );
    assert_eq!(value["journal"].as_array().unwrap().len(), 2, "{value:#}");
    hold.release().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_user_is_not_let_in() {
    let Some(node) = Node::with(&[]) else { return };
    // Open to all, so that only the look at the peer's user is left.
    for path in [node.directory.path(), &node.socket()] {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        std::fs::set_permissions(path, mode).unwrap();
    }
    let binary = node.directory.path().join("agent");
    std::fs::copy(env!("CARGO_BIN_EXE_stillpoint-agent"), &binary).unwrap();
    let output = Command::new(&binary)
        .args(["status", "--socket"])
        .arg(node.socket())
        .uid(65_534)
        .output()
        .unwrap();
    assert!(!output.status.success(), "{output:?}");
    eventually("the refusal is logged", || {
        node.log().contains("another user refused")
    });
    node.status().await;
}

#[test]
fn the_tcp_door_needs_kubernetes_and_says_what_is_missing() {
    let Some(mut node) = Node::with(&[]) else {
        return;
    };
    assert!(node.log().contains("no TCP door"), "{}", node.log());
    assert!(node.terminate().success());
    for (options, message) in [
        (&["--listen", "127.0.0.1:0"][..], "set --kubeconfig"),
        (&["--kubeconfig", "/nowhere"], "kubeconfig /nowhere"),
        (&["--accept", "velero"], "NAMESPACE/SERVICEACCOUNT"),
    ] {
        let log = node.log().len();
        let status = node.serve().args(options).status().unwrap();
        assert!(!status.success(), "{options:?}");
        let log = node.log().split_off(log);
        assert!(log.contains(message), "{options:?}: {log}");
    }
}
