//! The plugin, its host or the agent dies or is stopped between freeze and thaw.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use stillpoint_lab::{Action, Settings, host::Host};
use stillpoint_loopfs::Kind;
use stillpoint_system::{
    programs,
    relay::Relay,
    rig::Rig,
    scene::{Case, Scene, all, fault, settings, until},
};

type Act = fn(&mut Rig) -> Result<()>;
type Config = &'static [(&'static str, &'static str)];

/// Longer than any case lasts: what is thawed earlier was not thawed by its deadline.
const AUTO: Config = &[("freeze", "auto"), ("freezeTimeout", "60s")];
const REQUIRED: Config = &[("freeze", "required"), ("freezeTimeout", "60s")];
const BRIEFLY: [Config; 2] = [
    &[("freeze", "auto"), ("freezeTimeout", "1s")],
    &[("freeze", "required"), ("freezeTimeout", "1s")],
];

/// A lab in which something can be done to whoever waits for a snapshot.
fn slow() -> Settings {
    let mut settings = settings();
    settings.snapshot.duration = Duration::from_millis(1500);
    settings
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_plugin_leaves_one_pending_snapshot_that_is_swept() {
    let case = |action: Option<Action>, polled: bool| -> Case {
        Box::pin(async move {
            let mut scene = Scene::busy(slow(), REQUIRED).await?;
            if let Some(action) = action {
                scene.rig.lab.inject(fault("PUT", 1, action));
            }
            let taking = scene.taking();
            if polled {
                scene.polled().await?;
            } else {
                scene.asked().await?;
            }
            scene.plugin.kill().await?;
            scene.thawed().await?;
            ensure!(taking.await?.is_err());
            scene.is_swept_later().await
        })
    };
    let by = Duration::from_secs(1);
    all([
        (
            "before the PUT is handled",
            case(Some(Action::Delay { by }), false),
        ),
        (
            "before the PUT is answered",
            case(Some(Action::DelayAnswer { by }), false),
        ),
        ("after the PUT", case(None, false)),
        ("while it polls", case(None, true)),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plugin_told_to_stop_leaves_nothing() {
    let shutdown: Case = Box::pin(async {
        let Scene {
            volume,
            plugin,
            rig,
            writer,
            snapshotter,
            ..
        } = Scene::busy(settings(), REQUIRED).await?;
        let handle = volume.handle();
        let taking = tokio::spawn(async move {
            snapshotter
                .create_snapshot(&handle, stillpoint_system::rig::ZONE, &[])
                .await
        });
        let lab = &rig.lab;
        until("the snapshot is asked for", || {
            lab.requests().iter().any(|request| request.method == "PUT")
        })
        .await?;
        let ended = plugin.shut_down().await?;
        tokio::task::block_in_place(|| volume.write_something())?;
        ensure!(!ended.killed, "it did not end by itself");
        ensure!(taking.await?.is_err(), "a snapshot was reported");
        ensure!(
            lab.snapshots().is_empty(),
            "left behind: {:?}",
            lab.snapshots()
        );
        drop((writer, volume));
        Ok(())
    });
    let terminated: Case = Box::pin(async {
        let mut scene = Scene::busy(slow(), REQUIRED).await?;
        let taking = scene.taking();
        scene.polled().await?;
        scene.plugin.signal(Signal::TERM)?;
        scene.thawed().await?;
        let answer = taking.await?;
        let status = scene.plugin.ended(Duration::from_secs(20)).await?;
        ensure!(status.success(), "{status}");
        scene.is_refused(answer, "cancelled").await
    });
    all([("Shutdown", shutdown), ("SIGTERM", terminated)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn host_that_goes_away_leaves_nothing() {
    let cancelled: Case = Box::pin(async {
        let scene = Scene::busy(slow(), REQUIRED).await?;
        let taking = scene.taking();
        scene.polled().await?;
        taking.abort();
        scene.thawed().await?;
        until("the snapshot is deleted", || {
            scene.rig.lab.snapshots().is_empty()
        })
        .await?;
        // The plugin lives on.
        let answer = scene.take().await;
        scene.is_whole(answer).await.map(drop)
    });
    let died: Case = Box::pin(async {
        let rig = Rig::start(slow()).await?;
        let volume = rig.volume("data", Kind::Ext4)?;
        // The shell stands for the host: the plugin is its child.
        let host = Host::new("sh")
            .argument("-c")
            .argument(r#""$0" --log-level=trace & wait"#)
            .argument(programs::program(programs::PLUGIN)?);
        let mut scene = Scene::hosted(rig, volume, REQUIRED, host).await?;
        let taking = scene.taking();
        scene.polled().await?;
        scene.plugin.kill().await?;
        scene.thawed().await?;
        let answer = taking.await?;
        scene.plugin.logs().ended().await;
        ensure!(answer.is_err());
        ensure!(scene.rig.lab.snapshots().is_empty());
        Ok(())
    });
    all([("call cancelled", cancelled), ("process died", died)]).await;
}

/// Something is done to the agent while it holds the volume; the volume is thawed long before its deadline.
fn agent_ends(config: Config, act: Act, why: &'static str) -> Case {
    Box::pin(async move {
        let mut scene = Scene::busy(slow(), config).await?;
        let taking = scene.taking();
        scene.polled().await?;
        act(&mut scene.rig)?;
        scene.thawed().await?;
        let answer = taking.await?;
        if config == AUTO {
            scene.is_crash(answer, why).await
        } else {
            scene.is_refused(answer, why).await
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn agent_that_ends_thaws() {
    let interrupt = |rig: &mut Rig| {
        rig.agent()?.signal(Signal::INT);
        Ok(())
    };
    let supervisor = |rig: &mut Rig| {
        rig.agent()?.signal(Signal::KILL);
        Ok(())
    };
    let worker = |rig: &mut Rig| rig.agent()?.signal_worker(Signal::KILL);
    // The kernel keeps the freeze; the next start thaws what the journal names.
    let container = |rig: &mut Rig| {
        rig.agent()?.kill_container();
        rig.start_agent().map(drop)
    };
    let acts: [(&str, Act, &str); 4] = [
        ("SIGINT", interrupt, "the agent is stopping"),
        ("supervisor killed", supervisor, "the agent is stopping"),
        ("worker killed", worker, "the call to the agent broke"),
        ("container killed", container, "the call to the agent broke"),
    ];
    let cases = acts.into_iter().flat_map(|(name, act, why)| {
        [AUTO, REQUIRED].map(|config| {
            (
                format!("{name}, {}", config[0].1),
                agent_ends(config, act, why),
            )
        })
    });
    all(cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agent_told_to_end_lets_the_snapshot_come_to_its_end() {
    let case: Case = Box::pin(async {
        let mut scene = Scene::busy(slow(), REQUIRED).await?;
        let taking = scene.taking();
        scene.polled().await?;
        scene.rig.agent()?.signal(Signal::TERM);
        let answer = taking.await?;
        scene.is_whole(answer).await?;
        let agent = scene.rig.agent()?;
        ensure!(
            agent.log().contains("holds may end within"),
            "{}",
            agent.log()
        );
        Ok(())
    });
    all([("SIGTERM", case)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_worker_does_not_keep_anything_frozen() {
    let case = |config: Config| -> Case {
        Box::pin(async move {
            let mut scene = Scene::busy(slow(), config).await?;
            let taking = scene.taking();
            scene.asked().await?;
            scene.rig.agent()?.signal_worker(Signal::STOP)?;
            scene.thawed().await?;
            let answer = taking.await?;
            if config == BRIEFLY[0] {
                scene.is_crash(answer, "did not say within 5s").await
            } else {
                scene.is_refused(answer, "did not say within 5s").await
            }
        })
    };
    all([("auto", case(BRIEFLY[0])), ("required", case(BRIEFLY[1]))]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agent_that_cannot_be_asked_is_told() {
    let cut = |config: Config| -> Case {
        Box::pin(async move {
            let rig = Rig::start(slow()).await?;
            let volume = rig.volume("data", Kind::Ext4)?;
            let relay = Relay::start(&rig.scratch().join("relay.sock"), &rig.socket())?;
            let agent = format!("unix:{}", relay.socket().display());
            let mut config_with = config.to_vec();
            config_with.push(("agent", &agent));
            let scene = Scene::of(rig, volume, &config_with).await?;
            let taking = scene.taking();
            scene.polled().await?;
            drop(relay);
            scene.thawed().await?;
            let answer = taking.await?;
            let why = "the call to the agent broke";
            if config == AUTO {
                scene.is_crash(answer, why).await
            } else {
                scene.is_refused(answer, why).await
            }
        })
    };
    let not_running = |config: Config, remove: bool| -> Case {
        Box::pin(async move {
            let mut scene = Scene::busy(settings(), config).await?;
            if remove {
                std::fs::remove_file(scene.rig.socket()).context("the socket")?;
                // A plugin that was connected before stays so.
                scene.restart_plugin().await?;
            } else {
                scene.rig.stop_agent();
            }
            let answer = scene.take().await;
            let why = "did not hold the volume";
            if config == AUTO {
                scene.is_crash(answer, why).await
            } else {
                ensure!(scene.puts() == 0, "Azure was asked all the same");
                scene.is_refused(answer, why).await
            }
        })
    };
    all([
        ("connection cut, auto", cut(AUTO)),
        ("connection cut, required", cut(REQUIRED)),
        ("not running, auto", not_running(AUTO, false)),
        ("not running, required", not_running(REQUIRED, false)),
        ("socket removed, auto", not_running(AUTO, true)),
        ("socket removed, required", not_running(REQUIRED, true)),
    ])
    .await;
}
