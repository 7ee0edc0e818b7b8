//! Logging in, and not, through the plugin's process.
#![allow(missing_docs, clippy::unwrap_used)]

mod certificate;
mod identity;
mod refused;

use std::{
    fs,
    path::{Path, PathBuf},
};

use stillpoint_lab::host::Plugin;
use stillpoint_system::{
    cloud::{Cloud, init},
    rig::NAME,
};
use tonic::Status;

/// Variables that every credentials file of a lab has: where the cluster is.
fn place(cloud: &Cloud) -> String {
    let file = cloud.lab.credentials_file();
    let lines = file
        .lines()
        .filter(|line| line.contains("SUBSCRIPTION") || line.contains("RESOURCE_GROUP"));
    lines.map(|line| format!("{line}\n")).collect()
}

fn written(directory: &Path, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = directory.join(name);
    fs::write(&path, content).unwrap();
    path
}

/// Init with a credentials file of these lines, and a call that needs a token.
async fn log_in(
    cloud: &Cloud,
    plugin: &Plugin,
    directory: &Path,
    lines: &str,
) -> Result<(), Status> {
    // A process that has opened a location keeps what it read.
    let name = format!("cloud-{}", fs::read_dir(directory).unwrap().count());
    let file = written(directory, &name, format!("{}{lines}", place(cloud)));
    reach(
        cloud,
        plugin,
        &[("credentialsFile", file.to_str().unwrap())],
    )
    .await
}

/// Init with that config, and a call that needs a token.
async fn reach(cloud: &Cloud, plugin: &Plugin, more: &[(&str, &str)]) -> Result<(), Status> {
    let mut config = cloud.config(&[("apiTimeout", "1s")]);
    for (key, value) in more {
        config.insert((*key).into(), (*value).into());
    }
    config.retain(|_, value| !value.is_empty());
    let snapshotter = plugin.snapshotter(NAME);
    init(&snapshotter, &config).await?;
    let disk = cloud.lab.disk_id("d").to_string();
    snapshotter.volume_info(&disk, "").await.map(drop)
}
