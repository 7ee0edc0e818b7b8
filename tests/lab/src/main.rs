//! `stillpoint-lab`: the simulated Azure as a program of its own.

use std::{io::Write as _, net::SocketAddr, path::PathBuf};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use stillpoint_lab::{Lab, Settings};
use tokio::signal::unix::{SignalKind, signal};

/// A simulated Azure whose managed disks are real files.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve until SIGINT or SIGTERM, then unmount everything.
    ///
    /// Prints one line of JSON when it listens: endpoint (ARM and Entra), imds, control, directory,
    /// caFile, credentialsFile, tenant, subscription, resourceGroup.
    #[command(after_help = CONTROL)]
    Serve {
        /// Where the disks' pool is made and mounted, ca.pem and credentials are written.
        #[arg(long)]
        directory: PathBuf,
        /// HTTPS address of ARM and Entra [default: a free port of 127.0.0.1].
        #[arg(long)]
        listen: Option<SocketAddr>,
        /// HTTP address of the instance metadata service [default: a free port].
        #[arg(long)]
        imds: Option<SocketAddr>,
        /// HTTP address of the control API [default: a free port].
        #[arg(long)]
        control: Option<SocketAddr>,
        /// JSON: latency {read, write}, snapshot {duration, cut, copy, status, retryAfter}, diskDuration,
        /// deleteDuration, updateDuration, retryAfter, limits {reads, writes, deletes, resource: {capacity,
        /// refill}}, incremental {most, window, total}, tokenLifetime, pageSize, regions, pool, seed.
        #[arg(long)]
        settings: Option<PathBuf>,
    },
}

const CONTROL: &str = "\
Control API (HTTP, JSON, below the printed `control` address):
  GET PATCH    /settings        what it runs with; {\"snapshot\": {\"duration\": \"1.5s\", \"cut\": {\"at\": 0.5}}}
  POST         /subscriptions   {id, tenant}
  POST         /groups          {subscription, name, location}
  POST         /identities      {tenant, clientId, objectId, credentials: [{secret} | {certificate: {pem}} |
                                {issued: {authority, subject}} | {federated: {issuer, subject, token}} |
                                {managed: {resourceId}}], denied: [action]}
  DELETE       /tokens          refuses all tokens given so far
  POST         /registrations   {id, location}: a disk encryption set or disk access
  GET POST     /disks           {id, sku, gib, location, zone, tags, properties}; DELETE /disks?id=
  POST         /disks/attach    {disk, machine}
  GET          /snapshots       with file, tags and the moments accepted, cutBegan, cutEnded, succeeded
  GET POST     /accounts        storage accounts: {id, blobEndpoint, key1, key2, allowSharedKeyAccess, location, sku};
                                PATCH {id, allowSharedKeyAccess}; DELETE /accounts?id=
  POST         /accounts/keys   {id, keyName, value}: replaces a key, by a new one without a value
  POST         /locks           {scope}: a ReadOnly lock; DELETE /locks?scope=
  POST         /copies          {id}: a mountable copy of a snapshot or disk
  GET POST DELETE /faults       {method, path, skip, times, action}; action: closeBefore, closeAfter, truncate,
                                deleteSource, {status: {status, code, message, retryAfter}}, {hang: {for}},
                                {delay: {by}}, {delayAnswer: {by}}, {failOperation: {code, message}},
                                {stay: {for}}, {deny: {action}}
  GET DELETE   /requests        the request log
Moments have the system's time and monotonicNs (CLOCK_MONOTONIC). Durations: 20ms, 1.5s, 10m.";

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_writer(std::io::stderr)
        .init();
    let Arguments {
        command:
            Command::Serve {
                directory,
                listen,
                imds,
                control,
                settings,
            },
    } = Arguments::parse();
    let file = match settings {
        Some(path) => {
            let text = std::fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            serde_json::from_str(&text)
                .with_context(|| format!("{} has wrong settings", path.display()))?
        }
        None => Settings::default(),
    };
    let settings = Settings {
        directory: Some(directory),
        listen: listen.unwrap_or(file.listen),
        imds: imds.unwrap_or(file.imds),
        control: control.unwrap_or(file.control),
        ..file
    };
    // Before the pool is mounted: a signal from then on unmounts it.
    let (mut interrupt, mut terminate) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );
    let lab = Lab::start(settings).await?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{}", serde_json::to_string(lab.endpoints())?)?;
    stdout.flush()?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    lab.stop().await;
    Ok(())
}
