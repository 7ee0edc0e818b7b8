//! The programs that a cluster is made of, compiled at first need.

use std::{path::PathBuf, process::Stdio};

use anyhow::{Context as _, Result, ensure};
use tokio::process::Command;

use crate::part::Parts;

/// Why no cluster can run here, or `None` if one can. Tests say it and count as skipped.
pub fn missing() -> Option<String> {
    let found = |program: &str, argument: &str| {
        let mut command = std::process::Command::new(program);
        command.arg(argument).output().is_ok()
    };
    if !found("go", "version") {
        return Some("Go is missing, to build Kubernetes: Go 1.26 or newer".into());
    }
    let tools = ["flock", "setpriv"];
    let missing = tools.iter().find(|tool| !found(tool, "--version"))?;
    Some(format!("{missing} is missing: it is in util-linux"))
}

/// Compiles what was not compiled yet, before a place where modules cannot be fetched.
pub async fn build() -> Result<()> {
    let parts = Parts::All.all().iter().map(|part| part.program());
    for program in parts.chain(["velero", "helm", "snapshot-controller", "csi-snapshotter"]) {
        path(program).await?;
    }
    Ok(())
}

/// The path of promtool, which checks and tries Prometheus' rules.
pub async fn promtool() -> Result<PathBuf> {
    path("promtool").await
}

/// The path of a program. Compiles it if it was not yet, which can take minutes.
pub(crate) async fn path(name: &str) -> Result<PathBuf> {
    let build = concat!(env!("CARGO_MANIFEST_DIR"), "/build");
    let output = Command::new(build)
        .arg(name)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .await
        .with_context(|| format!("cannot run {build}"))?;
    ensure!(
        output.status.success(),
        "{build} {name}: {}; it says above why",
        output.status
    );
    Ok(String::from_utf8(output.stdout)?.trim_end().into())
}
