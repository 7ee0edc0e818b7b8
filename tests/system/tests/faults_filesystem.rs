//! The filesystem changes under the hold, or never was one that a freeze can make consistent.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use stillpoint_lab::{Kind as Resource, NewDisk, ResourceId, Settings};
use stillpoint_loopfs::{Kind, Mounted};
use stillpoint_system::{
    rig::{Rig, ZONE},
    scene::{Case, Scene, all, settings, until},
};

type Config = &'static [(&'static str, &'static str)];

const AUTO: Config = &[("freeze", "auto"), ("freezeTimeout", "60s")];
const REQUIRED: Config = &[("freeze", "required"), ("freezeTimeout", "60s")];

fn slow() -> Settings {
    let mut settings = settings();
    settings.snapshot.duration = Duration::from_millis(1500);
    settings
}

fn run(program: &str, arguments: &[&str], path: &Path) -> Result<()> {
    let output = Command::new(program).args(arguments).arg(path).output()?;
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{program} {arguments:?}: {words}");
    Ok(())
}

/// In either mode: a volume that is prepared so that no freeze makes it consistent. `auto` says why, `required` does not
/// even ask Azure.
fn never_consistent(prepare: fn(&Scene) -> Result<()>, why: &'static str, writable: bool) -> Case {
    Box::pin(async move {
        for config in [AUTO, REQUIRED] {
            let scene = Scene::idle(settings(), config).await?;
            prepare(&scene)?;
            let answer = scene.take().await;
            if writable {
                scene.thawed().await?;
            }
            if config == AUTO {
                scene.is_called_crash(answer, why)?;
            } else {
                ensure!(scene.puts() == 0, "Azure was asked all the same");
                scene.is_failure(answer, why)?;
            }
        }
        Ok(())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_made_consistent_is_told() {
    let read_only = |scene: &Scene| {
        // The superblock, not only the mount.
        run(
            "mount",
            &["-o", "remount,ro"],
            scene.volume.mounts.staged.path(),
        )
    };
    let damaged = |scene: &Scene| {
        let device = scene.volume.mounts.staged.device()?;
        let name = device.file_name().context("a device has a name")?;
        let trigger = Path::new("/sys/fs/ext4")
            .join(name)
            .join("trigger_fs_error");
        Ok(fs::write(trigger, "made by a test")?)
    };
    all([
        (
            "read-only",
            never_consistent(read_only, "is read-only", false),
        ),
        (
            "damaged",
            never_consistent(damaged, "is in an error state", true),
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_freeze_is_left_alone() {
    let case = |config: Config| -> Case {
        Box::pin(async move {
            let scene = Scene::idle(settings(), config).await?;
            let staged = scene.volume.mounts.staged.path();
            run("fsfreeze", &["--freeze"], staged)?;
            let answer = scene.take().await;
            let why = "frozen already by someone else";
            if config == AUTO {
                scene.is_called_crash(answer, why)?;
            } else {
                ensure!(scene.puts() == 0, "Azure was asked all the same");
                scene.is_failure(answer, why)?;
            }
            // It fails on what is not frozen.
            run("fsfreeze", &["--unfreeze"], staged).context("it was thawed")?;
            scene.thawed().await
        })
    };
    all([("auto", case(AUTO)), ("required", case(REQUIRED))]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_thaw_ends_the_hold() {
    let case = |config: Config, again: bool| -> Case {
        Box::pin(async move {
            let scene = Scene::busy(slow(), config).await?;
            let taking = scene.taking();
            scene.polled().await?;
            let staged = scene.volume.mounts.staged.path();
            run("fsfreeze", &["--unfreeze"], staged)?;
            if again {
                run("fsfreeze", &["--freeze"], staged)?;
                run("fsfreeze", &["--unfreeze"], staged)?;
            }
            let answer = taking.await?;
            let why = "thawed by someone else";
            if config == AUTO {
                scene.is_crash(answer, why).await
            } else {
                scene.is_refused(answer, why).await
            }
        })
    };
    all([
        ("auto", case(AUTO, false)),
        ("required", case(REQUIRED, false)),
        ("thawed, frozen and thawed", case(AUTO, true)),
    ])
    .await;
}

/// The mounts change while the volume is frozen; its data does not, so the snapshot is whole.
fn mounts_change(act: fn(&mut Scene) -> Result<()>) -> Case {
    Box::pin(async move {
        let mut scene = Scene::idle(slow(), REQUIRED).await?;
        let image = scene
            .rig
            .lab
            .disk_file(&scene.volume.id)
            .context("no disk")?;
        for number in 0..100 {
            fs::write(
                scene.volume.path().join(number.to_string()),
                b"not yet written back",
            )?;
        }
        let taking = scene.taking();
        scene.polled().await?;
        act(&mut scene)?;
        let answer = taking.await?;
        scene.is_called_whole(answer)?;
        // The same filesystem, wherever it is mounted next.
        let again = Mounted::image(&image, &scene.rig.scratch().join("again"), "")?;
        fs::write(again.path().join("written"), b"x")?;
        run("sync", &["--file-system"], again.path())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn mounts_that_change_under_the_hold_leave_nothing_frozen() {
    let pod_replaced: fn(&mut Scene) -> Result<()> = |scene| {
        scene.volume.mounts.leave_pod();
        Ok(())
    };
    let unmounted: fn(&mut Scene) -> Result<()> = |scene| {
        scene.volume.mounts.leave_pod();
        // The agent's hold on the root may make it busy.
        let _ = run("umount", &[], scene.volume.mounts.staged.path());
        Ok(())
    };
    let lazily: fn(&mut Scene) -> Result<()> = |scene| {
        scene.volume.mounts.leave_pod();
        run("umount", &["--lazy"], scene.volume.mounts.staged.path())
    };
    let moved: fn(&mut Scene) -> Result<()> = |scene| {
        let (from, to) = (
            scene.volume.mounts.staged.path(),
            scene.rig.scratch().join("moved"),
        );
        fs::create_dir(&to)?;
        run("mount", &["--bind", &from.display().to_string()], &to)?;
        run("umount", &["--lazy"], from)?;
        scene.volume.mounts.leave_pod();
        // Unmounted from there too, so that the disk is free in the end.
        run("umount", &["--lazy"], &to)
    };
    all([
        ("pod replaced", mounts_change(pod_replaced)),
        ("unmounted", mounts_change(unmounted)),
        ("lazily unmounted", mounts_change(lazily)),
        ("mounted elsewhere", mounts_change(moved)),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn root_directory_of_mode_0700_is_frozen() {
    let case: Case = Box::pin(async {
        let scene = Scene::busy(settings(), REQUIRED).await?;
        let root = scene.volume.path();
        std::os::unix::fs::chown(root, Some(1234), Some(1234))?;
        fs::set_permissions(root, fs::Permissions::from_mode(0o700))?;
        let answer = scene.take().await;
        scene.is_whole(answer).await.map(drop)
    });
    all([("0700", case)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn disk_that_is_not_mounted_here_is_judged_by_its_attachment() {
    let case = |elsewhere: bool, config: Config| -> Case {
        Box::pin(async move {
            let rig = Rig::start(settings()).await?;
            let raw = rig.lab.create_disk(&NewDisk::new(rig.lab.disk_id("raw")))?;
            if elsewhere {
                let machine = ResourceId {
                    kind: Resource::VirtualMachine,
                    name: "node-2".into(),
                    ..raw.clone()
                };
                rig.lab.attach(&raw, Some(machine))?;
            }
            let volume = rig.volume("data", Kind::Ext4)?;
            let scene = Scene::of(rig, volume, config).await?;
            let answer = scene
                .snapshotter
                .create_snapshot(&raw.to_string(), ZONE, &[])
                .await;
            match (elsewhere, config == AUTO) {
                (true, true) => scene.is_crash(answer, "it is not on this node").await,
                (true, false) => scene.is_refused(answer, "is not frozen").await,
                (false, _) => {
                    answer?;
                    let snapshot = scene.only_snapshot()?;
                    let worth = &snapshot.tags["stillpoint-consistency"];
                    ensure!(worth == "unmounted", "{:?}", snapshot.tags);
                    scene.thawed().await
                }
            }
        })
    };
    all([
        ("unattached, auto", case(false, AUTO)),
        ("unattached, required", case(false, REQUIRED)),
        ("attached elsewhere, auto", case(true, AUTO)),
        ("attached elsewhere, required", case(true, REQUIRED)),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_at_once_do_not_disturb_each_other() {
    let two_volumes: Case = Box::pin(async {
        let rig = Rig::start(settings()).await?;
        let (one, other) = (
            rig.volume("one", Kind::Xfs)?,
            rig.volume("other", Kind::Btrfs)?,
        );
        let scene = Scene::of(rig, one, REQUIRED).await?;
        let handle = other.handle();
        let (first, second) = tokio::join!(
            scene.take(),
            scene.snapshotter.create_snapshot(&handle, ZONE, &[])
        );
        scene.thawed().await?;
        tokio::task::block_in_place(|| other.write_something())?;
        for (answer, kind) in [(first, Kind::Xfs), (second, Kind::Btrfs)] {
            scene.called_whole(&answer?.parse()?, kind)?;
        }
        ensure!(scene.rig.lab.snapshots().len() == 2);
        drop(other);
        Ok(())
    });
    let same_disk: Case = Box::pin(async {
        let scene = Scene::busy(slow(), REQUIRED).await?;
        let first = scene.taking();
        scene.asked().await?;
        // It joins the freeze of the first and outlives it.
        let second = scene.taking();
        until("both are asked for", || scene.puts() == 2).await?;
        let (first, second) = (first.await?, second.await?);
        scene.thawed().await?;
        for answer in [first, second] {
            scene.called_whole(&answer?.parse()?, Kind::Ext4)?;
        }
        ensure!(scene.rig.lab.snapshots().len() == 2);
        Ok(())
    });
    all([("two volumes", two_volumes), ("one disk twice", same_disk)]).await;
}
