//! A pod that still has the hooks which froze its volume before there was an agent.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command},
};

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;
use stillpoint_e2e::{World, application::writes};

const NAMESPACE: &str = "hooked";

/// It was not we who froze it, so it is not ours to thaw, nor to vouch for.
pub(crate) async fn filesystem_that_a_hook_froze_is_left_to_the_hook(world: &World) -> Result<()> {
    let volumes = world.volumes(NAMESPACE, 1).await?;
    let volume = &volumes[0];
    let watchdog = Watchdog::of(&volume.path)?;
    let writer = volume.writer().await?;
    let command = |what: &str| json!(["fsfreeze", what, volume.path]).to_string();
    let hooks = Patch::Merge(json!({ "metadata": { "annotations": {
        "pre.hook.backup.velero.io/command": command("--freeze"),
        "post.hook.backup.velero.io/command": command("--unfreeze"),
    } } }));
    let pods: Api<Pod> = Api::namespaced(world.client(), NAMESPACE);
    pods.patch("app-0", &PatchParams::default(), &hooks).await?;

    world.begin_backup("hooked", NAMESPACE).await?;
    let (phase, status) = world.ended_backup("hooked").await?;
    // Had we thawed it, the second hook would have failed, and the backup with it.
    ensure!(phase == "Completed", "{phase}: {status:#}");
    ensure!(status["warnings"] == 1, "{status:#}");
    writes(&volume.claim, &writer).await?;
    let snapshot = world.snapshot_of("hooked")?;
    let tags = &snapshot.tags;
    ensure!(tags["stillpoint-consistency"] == "crash", "{tags:?}");
    let why = "is frozen already by someone else";
    ensure!(tags["stillpoint-reason"].contains(why), "{tags:?}");
    // It understates itself: the hook's freeze lasted.
    ensure!(world.journal(&snapshot)?.clean);
    let told = world
        .told(NAMESPACE, &volume.claim, "SnapshotCrashConsistent")
        .await?;
    ensure!(told.contains(why), "{told}");
    writer.stop()?;
    drop(watchdog);
    Ok(())
}

/// Thaws a filesystem at its end, and after a minute whatever becomes of the test.
struct Watchdog {
    process: Child,
    path: PathBuf,
}

impl Watchdog {
    fn of(path: &Path) -> Result<Self> {
        let process = Command::new("sh")
            .args(["-c", r#"sleep 60; exec fsfreeze --unfreeze "$0""#])
            .arg(path)
            .spawn()?;
        let path = path.to_owned();
        Ok(Self { process, path })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        // Not frozen is the usual case, and an error.
        let thaw = Command::new("fsfreeze")
            .arg("--unfreeze")
            .arg(&self.path)
            .output();
        drop(thaw);
    }
}
