//! The next start undoes what the last one left, and only that.

use std::{fs, path::Path, process::Command, time::Duration};

use rustix::process::Signal;
use stillpoint_loopfs::Kind;

use crate::harness::{Node, eventually, fsfreeze, is_frozen};

const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn the_next_start_thaws_what_the_killed_one_left() {
    let Some(mut node) = Node::with(&Kind::ALL) else {
        return;
    };
    let hold = node.hold_all(LIMIT).await;
    node.kill_all();
    drop(hold);
    assert!(node.volumes.iter().all(|volume| volume.is_frozen()));
    node.start();
    assert!(
        node.volumes.iter().all(|volume| !volume.is_frozen()),
        "before it answers"
    );
    assert!(node.entries().is_empty(), "{:?}", node.entries());
    assert!(
        node.hold_all(LIMIT)
            .await
            .release()
            .await
            .volumes
            .iter()
            .all(|thaw| thaw.held)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn unmounted_after_the_kill_it_is_reached_without_a_mount() {
    for kind in Kind::ALL {
        let Some(mut node) = Node::with(&[kind]) else {
            return;
        };
        let hold = node.hold_all(LIMIT).await;
        let path = node.volumes[0].path().to_owned();
        let device = node.volumes[0].mounted.device().unwrap();
        node.kill_all();
        drop(hold);
        let unmount = Command::new("umount").arg(&path).output().unwrap();
        assert!(unmount.status.success(), "{kind}: {unmount:?}");
        node.start();
        eventually("the journal is empty", || node.entries().is_empty());
        let mount = Command::new("mount")
            .arg("-o")
            .arg("loop")
            .arg(&node.volumes[0].image)
            .arg(&path)
            .output()
            .unwrap();
        assert!(mount.status.success(), "{kind}: {mount:?} {device:?}");
        assert!(!is_frozen(&path), "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mounted_elsewhere_after_the_kill_it_is_found_by_its_device() {
    let Some(mut node) = Node::with(&[Kind::Btrfs]) else {
        return;
    };
    let hold = node.hold_all(LIMIT).await;
    let device = node.volumes[0].mounted.device().unwrap();
    let path = node.volumes[0].path().to_owned();
    node.kill_all();
    drop(hold);
    let other = node.directory.path().join("other");
    fs::create_dir(&other).unwrap();
    assert!(
        Command::new("mount")
            .arg(&device)
            .arg(&other)
            .status()
            .unwrap()
            .success()
    );
    assert!(
        Command::new("umount")
            .arg(&path)
            .status()
            .unwrap()
            .success()
    );
    let _other = Unmount(&other);
    assert!(is_frozen(&other));
    node.start();
    assert!(!is_frozen(&other));
    assert!(node.entries().is_empty());
}

struct Unmount<'a>(&'a Path);

impl Drop for Unmount<'_> {
    fn drop(&mut self) {
        let _ = Command::new("fsfreeze")
            .arg("--unfreeze")
            .arg(self.0)
            .output();
        let _ = Command::new("umount").arg(self.0).output();
    }
}

/// Rewrites the only journal entry.
fn edit(node: &Node, change: impl Fn(String) -> String) {
    let entries = node.entries();
    let [path] = &entries[..] else {
        panic!("{entries:?}")
    };
    let text = fs::read_to_string(path).unwrap();
    let changed = change(text.clone());
    assert_ne!(text, changed);
    fs::write(path, changed).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_freezes_stay() {
    type Change = fn(String) -> String;
    let cases: [(&str, Change, bool); 4] = [
        (
            "the intent had not come to FIFREEZE",
            |text| text.replace("freezing\nfrozen\n", ""),
            true,
        ),
        (
            "another boot",
            |text| text.replace(r#""boot":""#, r#""boot":"0"#),
            true,
        ),
        (
            "another device under the same number",
            |text| text.replace(r#""sequence":"#, r#""sequence":9"#),
            true,
        ),
        (
            "the outcome of FIFREEZE is unknown",
            |text| text.replace("\nfrozen\n", "\n"),
            false,
        ),
    ];
    for (case, change, stays) in cases {
        let Some(mut node) = Node::with(&[Kind::Ext4]) else {
            return;
        };
        let hold = node.hold_all(LIMIT).await;
        node.kill_all();
        drop(hold);
        edit(&node, change);
        node.start();
        assert_eq!(node.volumes[0].is_frozen(), stays, "{case}");
        assert!(node.entries().is_empty(), "{case}");
        if stays {
            fsfreeze("--unfreeze", node.volumes[0].path());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn thawed_by_someone_else_in_between_is_resolved() {
    let Some(mut node) = Node::with(&[Kind::Xfs]) else {
        return;
    };
    let hold = node.hold_all(LIMIT).await;
    node.kill_all();
    drop(hold);
    fsfreeze("--unfreeze", node.volumes[0].path());
    node.start();
    assert!(node.entries().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_gone_is_resolved() {
    let Some(mut node) = Node::with(&[Kind::Ext4]) else {
        return;
    };
    let hold = node.hold_all(LIMIT).await;
    node.kill_all();
    drop(hold);
    fsfreeze("--unfreeze", node.volumes[0].path());
    node.volumes.clear();
    node.start();
    eventually("the entry is resolved", || node.entries().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_agent_on_the_same_journal_is_refused() {
    let Some(node) = Node::with(&[]) else { return };
    let second = node
        .serve()
        .stderr(std::process::Stdio::piped())
        .output()
        .unwrap();
    assert!(!second.status.success());
    let message = String::from_utf8_lossy(&second.stderr).into_owned();
    let journal = node.journal();
    assert!(
        message.contains(journal.to_str().unwrap()) && message.contains("another agent"),
        "{message}"
    );
    node.signal_worker(Signal::CONT);
    assert!(
        node.status().await.holds.is_empty(),
        "the first is not disturbed"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_agent_on_the_same_socket_is_refused() {
    let Some(node) = Node::with(&[]) else { return };
    let second = node
        .command("serve")
        .arg("--journal")
        .arg(node.directory.path().join("other"))
        .output()
        .unwrap();
    assert!(!second.status.success());
    let message = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(message.contains("another agent answers"), "{message}");
    assert!(
        node.status().await.holds.is_empty(),
        "the first is not disturbed"
    );
}
