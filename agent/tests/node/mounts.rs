//! Mounts that come and go: pods replaced, filesystems unmounted while frozen, odd paths and owners.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use stillpoint_loopfs::{Kind, Mounted, format};

use crate::harness::{Hold, Node, Writer, disk, eventually, is_frozen, record};

const LIMIT: Duration = Duration::from_secs(20);

/// A mount that a test makes by itself; gone when dropped.
pub(crate) struct Bind(PathBuf);

impl Bind {
    pub(crate) fn new(source: &Path, target: &Path) -> Self {
        let mount = Command::new("mount")
            .arg("--bind")
            .args([source, target])
            .output()
            .unwrap();
        assert!(mount.status.success(), "{mount:?}");
        Self(target.to_owned())
    }

    pub(crate) fn tmpfs(target: &Path) -> Self {
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "tmpfs"])
            .arg(target)
            .output()
            .unwrap();
        assert!(mount.status.success(), "{mount:?}");
        Self(target.to_owned())
    }
}

impl Drop for Bind {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).output();
    }
}

fn pod(node: &Node, uid: &str, handle: &str) -> PathBuf {
    let volume = node
        .kubelet()
        .join("pods")
        .join(uid)
        .join("volumes/kubernetes.io~csi/pv");
    record(&volume, handle);
    let mount = volume.join("mount");
    fs::create_dir_all(&mount).unwrap();
    mount
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_is_replaced_while_its_volume_is_frozen() {
    let Some(node) = Node::with(&[Kind::Ext4]) else {
        return;
    };
    let handle = node.volumes[0].handle.clone();
    let first = pod(&node, "1", &handle);
    let bind = Bind::new(node.volumes[0].path(), &first);
    let hold = node.hold_all(LIMIT).await;
    assert!(is_frozen(&first), "all mounts of a filesystem are frozen");
    let unmount = Command::new("umount").arg(&first).output().unwrap();
    assert!(
        unmount.status.success(),
        "the agent does not hinder it: {unmount:?}"
    );
    drop(bind);
    let second = pod(&node, "2", &handle);
    let _bind = Bind::new(node.volumes[0].path(), &second);
    let writer = Writer::start(&second);
    assert!(writer.is_blocked());
    assert!(hold.release().await.volumes[0].held);
    writer.resumes();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_mounted_only_in_its_pod_is_found() {
    let Some(mut node) = Node::with(&[]) else {
        return;
    };
    let target = pod(&node, "1", &disk("pod"));
    let image = node.directory.path().join("pod.img");
    format(&image, Kind::Ext4, 320).unwrap();
    let mounted = Mounted::image(&image, &target, "").unwrap();
    node.volumes.push(crate::harness::Volume {
        handle: disk("POD"),
        mounted,
        image,
    });
    let hold = node.hold_all(LIMIT).await;
    assert!(is_frozen(&target));
    assert!(hold.release().await.volumes[0].held);
}

#[tokio::test(flavor = "multi_thread")]
async fn plainly_unmounting_a_held_filesystem_is_refused_by_the_kernel() {
    let Some(node) = Node::with(&[Kind::Ext4]) else {
        return;
    };
    let hold = node.hold_all(LIMIT).await;
    let unmount = Command::new("umount")
        .arg(node.volumes[0].path())
        .output()
        .unwrap();
    assert!(!unmount.status.success());
    assert!(hold.release().await.volumes[0].held);
}

#[tokio::test(flavor = "multi_thread")]
async fn unmounted_lazily_and_mounted_again_while_frozen_it_is_thawed() {
    for kind in Kind::ALL {
        let Some(node) = Node::with(&[kind]) else {
            return;
        };
        let device = node.volumes[0].mounted.device().unwrap();
        let path = node.volumes[0].path();
        let hold = node.hold_all(LIMIT).await;
        let unmount = Command::new("umount").arg("--lazy").arg(path).status();
        assert!(unmount.unwrap().success(), "{kind}");
        let mount = Command::new("mount")
            .arg(&device)
            .arg(path)
            .output()
            .unwrap();
        assert!(mount.status.success(), "{kind}: {mount:?}");
        assert!(is_frozen(path), "{kind}: the same superblock");
        assert!(hold.release().await.volumes[0].held, "{kind}");
        assert!(!is_frozen(path), "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unmounted_lazily_and_never_mounted_again_it_is_thawed() {
    let Some(node) = Node::with(&[Kind::Ext4]) else {
        return;
    };
    let device = node.volumes[0].mounted.device().unwrap();
    let path = node.volumes[0].path();
    let hold = node.hold_all(LIMIT).await;
    assert!(
        Command::new("umount")
            .arg("--lazy")
            .arg(path)
            .status()
            .unwrap()
            .success()
    );
    assert!(hold.release().await.volumes[0].held);
    let name = device.file_name().unwrap().to_str().unwrap().to_owned();
    eventually("the superblock is gone", || {
        !Path::new("/sys/fs/ext4").join(&name).exists()
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_directory_of_another_user_is_frozen() {
    let Some(node) = Node::with(&[Kind::Ext4]) else {
        return;
    };
    let path = node.volumes[0].path();
    chown(path, Some(999), Some(999)).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o700)).unwrap();
    let hold = node.hold_all(LIMIT).await;
    hold.frozen(0);
    assert!(hold.release().await.volumes[0].held);
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_mount_points_are_found() {
    let Some(mut node) = Node::with(&[]) else {
        return;
    };
    for name in [
        "with space",
        "ünïcødé",
        "tab\tand\nnewline",
        "back\\slash\\040",
        "#hash",
    ] {
        node.add(name, Kind::Ext4, "");
        let hold = Hold::begin(&mut node.client().await, &[&disk(name)], LIMIT)
            .await
            .unwrap();
        assert!(hold.frozen(0).mount_point.contains(name), "{name:?}");
        assert!(node.volumes[0].is_frozen(), "{name:?}");
        assert!(hold.release().await.volumes[0].held, "{name:?}");
        node.volumes.clear();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unmounted_before_the_freeze_it_is_not_mounted() {
    let Some(mut node) = Node::with(&[Kind::Ext4]) else {
        return;
    };
    let handle = node.volumes[0].handle.clone();
    node.volumes.clear();
    let hold = Hold::begin(&mut node.client().await, &[&handle], LIMIT)
        .await
        .unwrap();
    let reason = hold.refused(0).reason();
    assert_eq!(reason, stillpoint_proto::agent::refusal::Reason::NotMounted);
}
