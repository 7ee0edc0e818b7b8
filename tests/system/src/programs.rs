//! The programs under test, built from this tree, and the one to compare with.

use std::{env, path::PathBuf, process::Command, sync::OnceLock};

use anyhow::{Context as _, Result, bail, ensure};

/// The plugin that Velero runs.
pub const PLUGIN: &str = "velero-plugin-stillpoint";
/// The admission webhook.
pub const GATE: &str = "stillpoint-gate";
/// What a person runs.
pub const KUBECTL: &str = "kubectl-stillpoint";
/// The node agent.
pub const AGENT: &str = "stillpoint-agent";

/// The path of a program of this workspace. A test builds it at the first call, so that it is never stale; beside
/// the demo it stands, and the bench takes the release.
pub fn program(name: &str) -> Result<PathBuf> {
    static DIRECTORY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let directory = DIRECTORY.get_or_init(|| directory().map_err(|error| format!("{error:#}")));
    let program = match directory {
        Ok(directory) => directory.join(name),
        Err(message) => bail!("{message}"),
    };
    ensure!(
        program.exists(),
        "{} is missing: make it with `make test` or `make demo`",
        program.display()
    );
    Ok(program)
}

/// The stock Azure plugin, which is no part of this tree: the one that `STOCK_PLUGIN` names, if it does.
pub fn stock_plugin() -> Result<Option<PathBuf>> {
    foreign("STOCK_PLUGIN")
}

/// azuredisk-csi-driver, v1.34 or newer, no part of it either: `AZUREDISK_PLUGIN`.
pub fn azure_disk() -> Result<Option<PathBuf>> {
    foreign("AZUREDISK_PLUGIN")
}

fn foreign(variable: &str) -> Result<Option<PathBuf>> {
    let named = env::var_os(variable).filter(|path| !path.is_empty());
    let program = named.map(PathBuf::from);
    if let Some(program) = &program {
        let shown = program.display();
        ensure!(program.exists(), "{variable}={shown}: no such file");
    }
    Ok(program)
}

fn directory() -> Result<PathBuf> {
    let executable = env::current_exe()?;
    let directory = executable
        .parent()
        .context("an executable is in a directory")?;
    match directory.parent() {
        Some(profile) if directory.ends_with("deps") => {
            build()?;
            Ok(profile.to_owned())
        }
        // The bench: what is measured is what is shipped.
        Some(target) if directory.ends_with("tools") => Ok(target.join("release")),
        _ => Ok(directory.to_owned()),
    }
}

/// With all targets of the workspace, as `make test` does: else features, and so all crates, would be built twice.
fn build() -> Result<()> {
    let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--quiet", "--workspace", "--all-targets"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .context("cannot run cargo")?;
    ensure!(
        status.success(),
        "cargo could not build the programs under test ({status})"
    );
    Ok(())
}
