//! Wires the gate together.

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context as _, anyhow};
use clap::Parser;
use stillpoint_plugin::{
    agent::NodeAgents,
    gate::{
        Gate, Options,
        door::{self, Door},
    },
    kubernetes::{Kubernetes, Webhook},
    log,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::timeout,
};
use tokio_util::task::TaskTracker;
use tracing::level_filters::LevelFilter;

/// A node thaws after a minute at most; then there is nothing left to hold.
const LAST_HOLDS: Duration = Duration::from_secs(70);

/// Has the volumes of CSI VolumeSnapshots frozen for the moments in which they are cut.
#[derive(Debug, Parser)]
#[command(name = "stillpoint-gate", version)]
struct Arguments {
    #[command(flatten)]
    gate: Options,
    #[command(flatten)]
    door: door::Options,
    /// error, warn, info, debug or trace
    #[arg(long, env = "STILLPOINT_LOG", default_value = "info")]
    log_level: LevelFilter,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    log::for_people(arguments.log_level);
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the gate ends");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the threads of the gate")?;
    runtime.block_on(serve(arguments))
}

async fn serve(arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { gate, door, .. } = arguments;
    let afterwards = TaskTracker::new();
    let kubernetes = Arc::new(Kubernetes::new(gate.kubeconfig.clone(), afterwards.clone()));
    let snapshots = kubernetes
        .snapshots()
        .await
        .map_err(|reason| anyhow!(reason))?;
    let view = kubernetes.view(gate.agent_service_account.clone());
    let arm = gate.arm().context("Azure's credentials")?;
    tracing::info!(
        drivers = gate.drivers.join(","),
        freeze = %gate.freeze,
        azure = arm.is_some(),
        "the gate begins"
    );
    let held = Gate::new(
        gate.settings(),
        Arc::new(NodeAgents::new(view.clone())),
        view,
        snapshots.clone(),
        arm,
    );
    let webhook = Webhook::connect(gate.kubeconfig.as_deref(), &door).await;
    let webhook = webhook.map_err(|reason| anyhow!(reason))?;
    let metrics = held.metrics().clone();
    let door = Door::open(&door, Arc::new(webhook)).await?;
    let door = door.with_metrics(move || metrics.text());
    door.readiness()
        .require("contents", move || snapshots.ready());
    tracing::info!(address = %door.address(), probes = %door.probes_address(), "listening");

    let mut asked = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let closed = async move {
        tokio::select! {
            _ = asked.recv() => {}
            _ = interrupted.recv() => {}
        }
    };
    let orphans = held.clone();
    let orphans = tokio::spawn(async move { orphans.end_orphans().await });
    door.serve(Arc::new(held.clone()), closed).await;
    orphans.abort();
    tracing::info!("no request is taken any more; the last holds come to their end");
    let _ = timeout(LAST_HOLDS, held.drained()).await;
    afterwards.close();
    let _ = timeout(Duration::from_secs(2), afterwards.wait()).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }
}
