//! The programs under test, built from this tree.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use anyhow::{Context as _, Result, bail};

/// The plugin that Velero runs.
pub const PLUGIN: &str = "velero-plugin-stillpoint";
/// The node agent.
pub const AGENT: &str = "stillpoint-agent";

/// The path of a program of this workspace, built at the first call in the profile of the caller.
pub fn program(name: &str) -> Result<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let directory = BUILT.get_or_init(|| build().map_err(|error| format!("{error:#}")));
    match directory {
        Ok(directory) => Ok(directory.join(name)),
        Err(message) => bail!("{message}"),
    }
}

fn build() -> Result<PathBuf> {
    let executable = env::current_exe()?;
    let directory = executable
        .ancestors()
        .skip(1)
        .find(|path| !path.ends_with("deps"))
        .context("no directory above this executable")?;
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--bins", "--package=stillpoint-plugin"]);
    cargo
        .arg("--package=stillpoint-agent")
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    if directory.ends_with("release") {
        cargo.arg("--release");
    }
    let status = cargo.status().context("cannot run cargo")?;
    if !status.success() {
        bail!("cargo could not build the programs under test ({status})");
    }
    Ok(Path::new(directory).to_owned())
}
