//! What a hold does, on each filesystem.

use std::time::{Duration, Instant};

use stillpoint_loopfs::Kind;
use stillpoint_proto::agent::refusal::Reason;
use tonic::Code;

use crate::harness::{Hold, Node, Writer, disk, eventually, fsfreeze, record};

const LIMIT: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_blocks_while_held_and_resumes_after_release() {
    for kind in Kind::ALL {
        let Some(node) = Node::with(&[kind]) else {
            return;
        };
        let hold = node.hold_all(LIMIT).await;
        let frozen = hold.frozen(0);
        assert_eq!(frozen.filesystem, kind.name());
        assert!(node.volumes[0].is_frozen(), "{kind}");
        let writer = Writer::start(node.volumes[0].path());
        assert!(writer.is_blocked(), "{kind}");
        let thawed = hold.release().await;
        assert!(thawed.volumes[0].held, "{kind}: {thawed:?}");
        writer.resumes();
        assert!(node.entries().is_empty(), "{kind}: {:?}", node.entries());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_of_one_hold_are_frozen_together() {
    let Some(node) = Node::with(&Kind::ALL) else {
        return;
    };
    let hold = node.hold_all(LIMIT).await;
    let status = node.status().await;
    assert!(status.mounts.iter().all(|mount| mount.frozen), "{status:?}");
    assert_eq!(status.holds.len(), 1, "{status:?}");
    assert_eq!(status.journal.len(), 3, "{status:?}");
    assert!(status.journal.iter().all(|entry| entry.state == "frozen"));
    for (number, volume) in node.volumes.iter().enumerate() {
        assert!(volume.is_frozen(), "{}", hold.frozen(number).filesystem);
    }
    let thawed = hold.release().await;
    let held: Vec<_> = thawed
        .volumes
        .iter()
        .map(|thaw| (&thaw.volume, thaw.held))
        .collect();
    let expected: Vec<_> = node
        .volumes
        .iter()
        .map(|volume| (&volume.handle, true))
        .collect();
    assert_eq!(held, expected);
    assert!(node.volumes.iter().all(|volume| !volume.is_frozen()));
    assert!(node.status().await.journal.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_frozen_does_not_stop_the_rest() {
    let Some(node) = Node::with(&[Kind::Ext4]) else {
        return;
    };
    let handles = [node.volumes[0].handle.as_str(), "/subscriptions/none"];
    let hold = Hold::begin(&mut node.client().await, &handles, LIMIT)
        .await
        .unwrap();
    assert_eq!(hold.refused(1).reason(), Reason::NotMounted);
    assert!(node.volumes[0].is_frozen());
    let thawed = hold.release().await;
    assert_eq!(thawed.volumes.len(), 1, "{thawed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn handles_are_found_in_any_case() {
    let Some(node) = Node::with(&[Kind::Ext4]) else {
        return;
    };
    let handle = &node.volumes[0].handle;
    for handle in [handle.to_lowercase(), handle.to_uppercase()] {
        let hold = Hold::begin(&mut node.client().await, &[&handle], LIMIT)
            .await
            .unwrap();
        hold.frozen(0);
        assert_eq!(hold.release().await.volumes[0].volume, handle);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_thaws_and_the_filesystem_rests() {
    let Some(node) = Node::with(&[Kind::Ext4]) else {
        return;
    };
    let begun = Instant::now();
    let hold = node.hold_all(Duration::from_secs(1)).await;
    let writer = Writer::start(node.volumes[0].path());
    let thawed = hold.thawed().await;
    assert!(begun.elapsed() >= Duration::from_secs(1));
    writer.resumes();
    let thaw = &thawed.volumes[0];
    assert!(
        !thaw.held && thaw.reason.contains("limit of 1s"),
        "{thaw:?}"
    );
    let refused = node.hold_all(LIMIT).await;
    assert_eq!(
        refused.refused(0).reason(),
        Reason::Resting,
        "{:?}",
        refused.volumes
    );
    let mut client = node.client().await;
    let handle = node.volumes[0].handle.as_str();
    let deadline = Instant::now() + LIMIT;
    loop {
        let hold = Hold::begin(&mut client, &[handle], LIMIT).await.unwrap();
        if matches!(
            hold.volumes[0].outcome,
            Some(stillpoint_proto::agent::volume_freeze::Outcome::Frozen(_))
        ) {
            assert!(hold.release().await.volumes[0].held);
            return;
        }
        assert!(Instant::now() < deadline, "it rests too long");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn holds_of_one_filesystem_share_its_freeze_and_its_limit() {
    let Some(node) = Node::with(&[Kind::Xfs]) else {
        return;
    };
    let first = node.hold_all(Duration::from_secs(4)).await;
    let second = node.hold_all(LIMIT).await;
    let remaining = second.frozen(0).remaining.unwrap();
    assert!(remaining.seconds < 4, "{remaining:?}");
    assert!(first.release().await.volumes[0].held);
    assert!(node.volumes[0].is_frozen(), "the second hold keeps it");
    let thawed = second.thawed().await;
    assert!(!thawed.volumes[0].held, "the first hold's limit counts");
    assert!(!node.volumes[0].is_frozen());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_hold_of_a_shared_freeze_thaws() {
    let Some(node) = Node::with(&[Kind::Ext4]) else {
        return;
    };
    let holds = [
        node.hold_all(LIMIT).await,
        node.hold_all(LIMIT).await,
        node.hold_all(LIMIT).await,
    ];
    for (number, hold) in holds.into_iter().enumerate() {
        assert!(node.volumes[0].is_frozen(), "before release {number}");
        assert!(hold.release().await.volumes[0].held, "{number}");
    }
    assert!(!node.volumes[0].is_frozen());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_freeze_is_refused_and_left_alone() {
    for kind in Kind::ALL {
        let Some(node) = Node::with(&[kind]) else {
            return;
        };
        fsfreeze("--freeze", node.volumes[0].path());
        let hold = node.hold_all(LIMIT).await;
        assert_eq!(hold.refused(0).reason(), Reason::Foreign, "{kind}");
        assert!(node.volumes[0].is_frozen(), "{kind}: theirs to thaw");
        fsfreeze("--unfreeze", node.volumes[0].path());
        assert!(node.entries().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_thaw_means_not_held() {
    let Some(node) = Node::with(&[Kind::Ext4]) else {
        return;
    };
    let hold = node.hold_all(LIMIT).await;
    fsfreeze("--unfreeze", node.volumes[0].path());
    let thaw = hold.release().await.volumes.remove(0);
    assert!(
        !thaw.held && thaw.reason.contains("someone else"),
        "{thaw:?}"
    );

    // Also for a hold whose freeze goes on for another.
    let (first, second) = (node.hold_all(LIMIT).await, node.hold_all(LIMIT).await);
    fsfreeze("--unfreeze", node.volumes[0].path());
    for hold in [first, second] {
        assert!(!hold.release().await.volumes[0].held);
    }
    assert!(!node.volumes[0].is_frozen());
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_requests_are_refused_with_the_value() {
    let Some(node) = Node::with(&[]) else { return };
    let mut client = node.client().await;
    let disk = disk("x");
    let ok = [disk.as_str()];
    for (limit, handles, expected) in [
        (Duration::from_millis(999), &ok[..], "999ms"),
        (Duration::from_secs(61), &ok[..], "61s"),
        (LIMIT, &[][..], "0 entries"),
        (LIMIT, &[""][..], "empty entry"),
    ] {
        let status = Hold::begin(&mut client, handles, limit)
            .await
            .err()
            .unwrap();
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        assert!(status.message().contains(expected), "{status:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_holds_one_after_the_other_leave_nothing() {
    let Some(node) = Node::with(&[Kind::Ext4]) else {
        return;
    };
    let mut client = node.client().await;
    let handle = node.volumes[0].handle.as_str();
    for _ in 0..20 {
        let hold = Hold::begin(&mut client, &[handle], LIMIT).await.unwrap();
        hold.frozen(0);
        assert!(hold.release().await.volumes[0].held);
    }
    assert!(!node.volumes[0].is_frozen());
    eventually("the journal is empty", || node.entries().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_without_its_own_filesystem_is_protected() {
    let Some(node) = Node::with(&[]) else { return };
    // A bind mount of a directory of the kubelet's own filesystem.
    let staging = node.staging("bound");
    record(&staging, &disk("bound"));
    let source = node.directory.path().join("source");
    std::fs::create_dir_all(&source).unwrap();
    let target = staging.join("globalmount");
    std::fs::create_dir_all(&target).unwrap();
    let _bound = crate::mounts::Bind::new(&source, &target);
    let hold = Hold::begin(&mut node.client().await, &[&disk("bound")], LIMIT)
        .await
        .unwrap();
    assert_eq!(
        hold.refused(0).reason(),
        Reason::Protected,
        "{:?}",
        hold.volumes
    );
}
