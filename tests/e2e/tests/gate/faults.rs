//! What can go wrong between a freeze and its thaw, and the verdict that is true then.

use std::{process::Command, time::Duration};

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{Patch, PatchParams},
    core::ResourceExt as _,
};
use serde_json::json;
use stillpoint_cluster::{Part, until};
use stillpoint_e2e::world::SOON;
use stillpoint_lab::Action;

use crate::scene::Scene;

/// Longer than the gate's limit.
const LONG: Duration = Duration::from_secs(6);

/// Nothing: the hold is of the time that Azure takes, and everyone is told.
pub(crate) async fn none(scene: &Scene) -> Result<()> {
    let taken = scene.take("plain").await?;
    let said = scene
        .expect(&taken, "filesystem", "held from before the PUT")
        .await?;
    let content = scene.ready(&taken).await?;
    let made = scene.made(&content)?;
    let azure = made.succeeded.map(|moment| moment.since(&made.accepted));
    ensure!(Some(said.frozen) >= azure, "{:?} of {azure:?}", said.frozen);
    let claim = &scene.volume(taken.volume).claim;
    for (kind, name) in [
        ("PersistentVolumeClaim", claim),
        ("VolumeSnapshot", &taken.name),
    ] {
        let message = scene.event(kind, name, "SnapshotFrozen").await?;
        let millis = format!("{} ms", said.frozen.as_millis());
        ensure!(message.contains(&millis), "{message}");
    }
    until("the snapshot has its tags", SOON, async || {
        let tags = scene.made(&content)?.tags;
        let tag = |key: &str| tags.get(key).map(String::as_str);
        ensure!(
            tag("stillpoint-consistency") == Some("filesystem"),
            "{tags:?}"
        );
        ensure!(tag("k8s-azure-created-by").is_some(), "{tags:?}");
        Ok(Some(()))
    })
    .await
}

/// `driver`: the real one, which repeats requests by itself.
pub(crate) async fn all(scene: &mut Scene, driver: bool) -> Result<()> {
    refused_once(scene).await?;
    operation_failed(scene).await?;
    throttled_once(scene, driver).await?;
    put_that_hangs(scene).await?;
    slow_azure(scene).await?;
    foreign_freeze(scene).await?;
    agent_killed(scene).await?;
    gate_killed(scene).await?;
    api_server_away(scene).await
}

/// A final error; the next attempt is held too.
async fn refused_once(scene: &Scene) -> Result<()> {
    scene.next_put(Action::Status {
        status: 403,
        code: Some("AuthorizationFailed".into()),
        message: None,
        retry_after: None,
    });
    let taken = scene.take("refused-once").await?;
    scene.expect(&taken, "filesystem", "held").await.map(drop)
}

/// The driver hands out a handle of the failed snapshot, which is never ready.
async fn operation_failed(scene: &Scene) -> Result<()> {
    scene.next_put(Action::FailOperation {
        code: "InternalExecutionError".into(),
        message: "failed on purpose".into(),
    });
    let taken = scene.take("operation-failed").await?;
    let said = until(
        "the verdict of the attempt that found it",
        SOON,
        async || {
            let said = scene.said_of_content(&taken).await?;
            ensure!(said.reason.contains("is there already"), "{}", said.reason);
            Ok(Some(said))
        },
    )
    .await?;
    ensure!(said.consistency == "crash", "{}", said.consistency);
    scene.all_write().await
}

/// The real driver waits until it may ask again, beyond the limit; the stand-in fails and is asked again.
async fn throttled_once(scene: &Scene, driver: bool) -> Result<()> {
    scene.next_put(Action::Status {
        status: 429,
        code: None,
        message: None,
        retry_after: Some("10".into()),
    });
    let taken = scene.take("throttled").await?;
    let expected = if driver { "crash" } else { "filesystem" };
    scene.expect(&taken, expected, "held").await.map(drop)
}

async fn put_that_hangs(scene: &Scene) -> Result<()> {
    scene.next_put(Action::Delay { by: LONG });
    let taken = scene.take("put-hangs").await?;
    let said = scene
        .expect(&taken, "crash", "not held until Succeeded")
        .await?;
    ensure!(said.frozen < LONG, "{:?}", said.frozen);
    Ok(())
}

async fn slow_azure(scene: &Scene) -> Result<()> {
    scene.next_put(Action::Stay { period: LONG });
    let taken = scene.take("slow").await?;
    let said = scene
        .expect(&taken, "crash", "not held until Succeeded")
        .await?;
    ensure!(said.frozen < LONG, "{:?}", said.frozen);
    let claim = &scene.volume(taken.volume).claim;
    scene
        .event("PersistentVolumeClaim", claim, "SnapshotCrashConsistent")
        .await?;
    Ok(())
}

/// Not ours to thaw.
async fn foreign_freeze(scene: &Scene) -> Result<()> {
    let path = &scene.volume(0).path;
    // Its mount has a watchdog.
    let fsfreeze = |what: &str| -> Result<()> {
        let status = Command::new("fsfreeze").arg(what).arg(path).status()?;
        ensure!(status.success(), "fsfreeze {what}: {status}");
        Ok(())
    };
    fsfreeze("--freeze")?;
    let ready = async {
        let taken = scene.take_of("foreign", 0).await?;
        scene.ready(&taken).await?;
        anyhow::Ok(taken)
    };
    let ready = ready.await;
    // Fails if anyone else has thawed it.
    fsfreeze("--unfreeze")?;
    scene
        .expect(&ready?, "crash", "frozen already by someone else")
        .await
        .map(drop)
}

/// The next agent thaws what it finds written down.
async fn agent_killed(scene: &mut Scene) -> Result<()> {
    scene.next_put(Action::Stay {
        period: Duration::from_secs(2),
    });
    let taken = scene.take("agent-killed").await?;
    scene.held(&taken).await?;
    let node = scene.node(taken.volume);
    scene.world.agent(&node)?.kill_container();
    scene.world.restart_agent(&node).await?;
    scene
        .expect(&taken, "crash", "not held until Succeeded")
        .await
        .map(drop)
}

/// Its death thaws, and the other replica goes on: it holds what comes next, and ends the verdict. Without either nothing
/// is held and nothing is said.
async fn gate_killed(scene: &mut Scene) -> Result<()> {
    let mut other = scene.other_gate().await?;
    scene.next_put(Action::Stay {
        period: Duration::from_secs(2),
    });
    let taken = scene.take("gate-killed").await?;
    scene.held(&taken).await?;
    scene.gate.kill();
    scene.all_write().await?;

    let next = scene.take("by-the-other").await?;
    scene.expect(&next, "filesystem", "held").await?;
    scene.ready(&taken).await?;
    scene
        .expect(&taken, "crash", "ended before it could tell")
        .await?;

    other.kill();
    let unheld = scene.take("no-gate").await?;
    let content = scene.ready(&unheld).await?;
    ensure!(
        !content
            .annotations()
            .contains_key("stillpoint.io/consistency"),
        "who says so?"
    );
    spoil_the_certificate(scene).await?;
    scene.gate.start().await?;
    scene.world.gate_is_ready(0).await?;
    let taken = scene.take("gate-again").await?;
    scene.expect(&taken, "filesystem", "held").await.map(drop)
}

/// The next gate makes another one.
async fn spoil_the_certificate(scene: &Scene) -> Result<()> {
    let secrets: Api<Secret> = Api::namespaced(scene.world.client(), "velero");
    let spoilt = Patch::Merge(json!({ "stringData": { "tls.crt": "spoilt" } }));
    let params = PatchParams::default();
    let name = "stillpoint-gate-certificate";
    secrets.patch(name, &params, &spoilt).await?;
    Ok(())
}

/// Azure tells when the data is fixed, whether or not there is an API server; the verdict comes when it is back.
async fn api_server_away(scene: &mut Scene) -> Result<()> {
    let taken = scene.take("no-api-server").await?;
    scene.held(&taken).await?;
    scene.world.cluster.stop(Part::ApiServer)?;
    scene.all_write().await?;
    tokio::time::sleep(Duration::from_secs(20)).await;
    scene.world.cluster.restart(Part::ApiServer).await?;
    // Confirmed before it went away, or let go.
    let said = scene.truth(&taken).await?;
    ensure!(
        ["filesystem", "crash"].contains(&&*said.consistency),
        "{}",
        said.reason
    );
    scene.world.gate_is_ready(0).await?;
    let taken = scene.take("api-server-back").await?;
    scene.expect(&taken, "filesystem", "held").await.map(drop)
}

/// The handle is all that there is to see, and proves something only of a first attempt.
pub(crate) async fn without_azure(scene: &Scene) -> Result<()> {
    let taken = scene.take("plain").await?;
    scene.expect(&taken, "filesystem", "held").await?;
    scene.next_put(Action::Status {
        status: 403,
        code: Some("AuthorizationFailed".into()),
        message: None,
        retry_after: None,
    });
    let taken = scene.take("second-attempt").await?;
    scene.expect(&taken, "crash", "an earlier attempt").await?;
    Ok(())
}
