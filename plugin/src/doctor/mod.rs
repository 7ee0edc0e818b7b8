//! `doctor`: whether a backup would find all that it needs where Velero runs, a line for each thing, with what to do.
//!
//! ```text
//!   location ─► config ─► credentials ─► Azure: groups, rights, clock ─► Kubernetes: rights, token ─► agents: volumes
//! ```
//!
//! It changes nothing: what cannot be looked at is tried on what does not exist.

mod azure;
mod cluster;
mod input;
mod report;
mod store;

use std::{
    io::Write as _,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use clap::Args;
use tempfile::NamedTempFile;
use tokio_util::task::TaskTracker;

pub use self::input::InputError;
use self::{
    input::{Input, Kind},
    report::Report,
};
use crate::{
    config::{AgentChoice, BackupSettings, FreezeMode, Settings},
    kubernetes::{Kubernetes, View},
};

/// Azure and Kubernetes accept what is a few minutes off; Leases do not.
const SKEW: Duration = Duration::from_secs(5);

/// The options of `doctor`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct Options {
    /// The location to check: a file with the VolumeSnapshotLocation or BackupStorageLocation as `kubectl get -o yaml` prints
    /// it, or with its config alone; - for standard input; or key=value, with commas between or repeated
    #[arg(long, value_name = "FILE|-|KEY=VALUE")]
    pub config: Vec<String>,
    /// A kubeconfig, outside a cluster; KUBECONFIG if not given
    #[arg(long)]
    pub kubeconfig: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What is printed, and whether all is well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// For standard output.
    pub text: String,
    /// Nothing is wrong.
    pub good: bool,
}

/// Looks at everything.
///
/// # Errors
/// If the config cannot be read at all.
pub async fn run(options: &Options) -> Result<Diagnosis, InputError> {
    let input = Input::read(&options.config)?;
    let kubernetes = Kubernetes::new(options.kubeconfig.clone(), TaskTracker::new());
    let mut report = Report::default();
    examine(&mut report, input, &Arc::new(kubernetes)).await;
    Ok(Diagnosis {
        text: match options.json {
            true => report.json(),
            false => report.text(),
        },
        good: report.is_good(),
    })
}

async fn examine(report: &mut Report, mut input: Input, kubernetes: &Arc<Kubernetes>) {
    // Kept until the end: Azure's credentials are read from it.
    let mut kept = None;
    if let Some((name, key)) = input.credential.take() {
        let view = kubernetes.view(None);
        match write_secret(&view, &name, &key).await {
            Ok(file) => {
                report.good("credential", format!("Secret {name}, key {key}, is there"));
                let path = file.path().display().to_string();
                input.config.insert("credentialsFile".to_owned(), path);
                kept = Some(file);
            }
            Err(reason) => {
                let remedy = "make the Secret that the location's `spec.credential` names, in Velero's namespace";
                report.wrong("credential", reason, remedy);
                return;
            }
        }
    }
    match input.kind {
        Kind::Backups => match BackupSettings::parse(&input.config) {
            Ok(settings) => {
                report.good("config", "all keys and values are understood");
                store::examine(report, &settings, &input.config).await;
            }
            Err(error) => report.wrong("config", error.to_string(), REMEDY_CONFIG),
        },
        Kind::Snapshots => match Settings::parse(&input.config) {
            Ok(settings) => {
                report.good(
                    "config",
                    format!(
                        "all keys and values are understood; freeze {}, for {:?} at most",
                        settings.freeze, settings.freeze_timeout
                    ),
                );
                azure::examine(report, &settings).await;
                agents(report, &settings, kubernetes).await;
            }
            Err(error) => report.wrong("config", error.to_string(), REMEDY_CONFIG),
        },
    }
    drop(kept);
}

const REMEDY_CONFIG: &str = "mend the location's `spec.config`";

async fn agents(report: &mut Report, settings: &Settings, kubernetes: &Arc<Kubernetes>) {
    if settings.freeze == FreezeMode::Off {
        report.good("agents", "not needed: `freeze` is off");
        return;
    }
    match &settings.agent {
        AgentChoice::Auto { account } => {
            let view = kubernetes.view(account.clone());
            cluster::examine(report, &view).await;
        }
        AgentChoice::Unix(path) => cluster::examine_one(report, path).await,
    }
}

async fn write_secret(view: &View, name: &str, key: &str) -> Result<NamedTempFile, String> {
    let secret = view.secret(name, key).await?;
    // Of mode 0600.
    let written = NamedTempFile::new().and_then(|mut file| {
        file.write_all(&secret)?;
        Ok(file)
    });
    written.map_err(|error| format!("it cannot be written to a temporary file: {error}"))
}

/// Compares our clock with another's, which was read a moment ago.
fn compare_clock(report: &mut Report, whose: &str, theirs: SystemTime) {
    let ours = SystemTime::now();
    let (skew, how) = match theirs.duration_since(ours) {
        Ok(behind) => (behind, "behind"),
        Err(ahead) => (ahead.duration(), "ahead of"),
    };
    if skew <= SKEW {
        report.good("clock", format!("as {whose}'s"));
    } else {
        report.wrong(
            "clock",
            format!("this machine's is {} s {how} {whose}'s", skew.as_secs()),
            "have the node's clock synchronised (chrony, systemd-timesyncd): tokens and Leases depend on it",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_off_is_told_with_its_direction() {
        let off = Duration::from_secs(40);
        for (theirs, expected) in [
            (SystemTime::now(), "ok     clock: as Azure's"),
            (SystemTime::now() + off, " s behind Azure's"),
            (SystemTime::now() - off, "40 s ahead of Azure's"),
        ] {
            let mut report = Report::default();
            compare_clock(&mut report, "Azure", theirs);
            assert!(report.text().contains(expected), "{}", report.text());
        }
    }
}
