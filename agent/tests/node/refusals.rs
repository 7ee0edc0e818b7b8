//! What is refused, and with which reason.

use std::{fs, process::Command, time::Duration};

use stillpoint_loopfs::Kind;
use stillpoint_proto::agent::refusal::Reason;

use crate::harness::{Hold, Node, disk, record};

const LIMIT: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_superblock_is_refused() {
    for kind in Kind::ALL {
        let Some(node) = Node::with(&[kind]) else {
            return;
        };
        let path = node.volumes[0].path();
        let remount = Command::new("mount")
            .args(["-o", "remount,ro"])
            .arg(path)
            .status();
        assert!(remount.unwrap().success());
        let hold = node.hold_all(LIMIT).await;
        assert_eq!(
            hold.refused(0).reason(),
            Reason::ReadOnly,
            "{kind}: {:?}",
            hold.volumes
        );
        let status = node.status().await;
        assert_eq!(
            status.mounts[0].refusal.as_ref().unwrap().reason(),
            Reason::ReadOnly
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_mount_of_a_writable_filesystem_is_frozen() {
    let Some(node) = Node::with(&[Kind::Ext4]) else {
        return;
    };
    let path = node.volumes[0].path();
    let remount = Command::new("mount")
        .args(["-o", "remount,bind,ro"])
        .arg(path)
        .status();
    assert!(remount.unwrap().success());
    let hold = node.hold_all(LIMIT).await;
    hold.frozen(0);
    assert!(hold.release().await.volumes[0].held);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_ext4_is_refused() {
    for options in ["errors=continue", "errors=remount-ro"] {
        let Some(mut node) = Node::with(&[]) else {
            return;
        };
        node.add("damaged", Kind::Ext4, options);
        let device = node.volumes[0].mounted.device().unwrap();
        let name = device.file_name().unwrap().to_str().unwrap();
        fs::write(format!("/sys/fs/ext4/{name}/trigger_fs_error"), "injected").unwrap();
        let hold = node.hold_all(LIMIT).await;
        let refusal = hold.refused(0);
        assert_eq!(
            refusal.reason(),
            Reason::Unhealthy,
            "{options}: {refusal:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_xfs_that_was_shut_down_is_refused() {
    let Some(node) = Node::with(&[Kind::Xfs]) else {
        return;
    };
    let shutdown = Command::new("xfs_io")
        .args(["-x", "-c", "shutdown"])
        .arg(node.volumes[0].path())
        .status();
    if !shutdown.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: no xfs_io: `make setup` installs it");
        return;
    }
    let hold = node.hold_all(LIMIT).await;
    assert_eq!(
        hold.refused(0).reason(),
        Reason::Unhealthy,
        "{:?}",
        hold.volumes
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn raw_block_volumes_and_unmounted_ones_are_told_apart() {
    let Some(node) = Node::with(&[]) else { return };
    let device = node
        .kubelet()
        .join("plugins/kubernetes.io/csi/volumeDevices/pv/data");
    record(&device, &disk("raw"));
    record(&node.staging("gone"), &disk("gone"));
    let (raw, gone, unknown) = (disk("raw"), disk("gone"), disk("unknown"));
    let hold = Hold::begin(&mut node.client().await, &[&raw, &gone, &unknown], LIMIT)
        .await
        .unwrap();
    for (number, reason) in [Reason::Block, Reason::NotMounted, Reason::NotMounted]
        .into_iter()
        .enumerate()
    {
        let refusal = hold.refused(number);
        assert_eq!(refusal.reason(), reason, "{refusal:?}");
        assert!(
            refusal.message.contains(&hold.volumes[number].volume),
            "{refusal:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_frozen_at_all_is_unsupported() {
    let Some(node) = Node::with(&[]) else { return };
    let staging = node.staging("tmpfs");
    record(&staging, &disk("tmpfs"));
    let target = staging.join("globalmount");
    fs::create_dir_all(&target).unwrap();
    let _tmpfs = crate::mounts::Bind::tmpfs(&target);
    let hold = Hold::begin(&mut node.client().await, &[&disk("tmpfs")], LIMIT)
        .await
        .unwrap();
    assert_eq!(
        hold.refused(0).reason(),
        Reason::Unsupported,
        "{:?}",
        hold.volumes
    );
}
