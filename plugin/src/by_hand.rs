//! The program as a person, or an init container, starts it: without Velero's cookie.

use std::{
    ffi::{OsStr, OsString},
    io::{self, Write},
    path::{Path, PathBuf},
};

use clap::Parser;
use thiserror::Error;
use tokio::runtime;

use crate::{
    doctor::{self, Diagnosis, InputError},
    install::{InstallError, PROGRAM, install},
};

/// This process' own program, also after its file was replaced.
const SELF: &str = "/proc/self/exe";

/// What a person asked for.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// Nothing: explain.
    Explain,
    /// `--help`.
    Help,
    /// `--version`.
    Version,
    /// `install DIR`.
    Install(PathBuf),
    /// `doctor`.
    Doctor(doctor::Options),
}

/// Checks whether a backup would find all that it needs, where Velero runs: a line for each thing, with what to do.
///
/// Exit codes: 0 nothing is wrong, 2 wrong usage, 4 something is wrong.
#[derive(Debug, Parser)]
#[command(bin_name = "velero-plugin-stillpoint doctor", verbatim_doc_comment)]
struct Doctor {
    #[command(flatten)]
    options: doctor::Options,
}

/// What a person asked for cannot be done.
#[derive(Debug, Error)]
pub enum ByHandError {
    /// Not understood.
    #[error(
        "{PROGRAM} does not know {0:?}; it takes `install DIR`, `doctor`, `--version` or `--help`"
    )]
    Unknown(OsString),
    /// No directory.
    #[error(
        "`{PROGRAM} install` needs one directory, the one that Velero's container mounts at /plugins"
    )]
    Directory,
    /// Not installed.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// Options that are not understood, or the help that was asked for.
    #[error("{}", .0.to_string().trim_end())]
    Options(#[from] clap::Error),
    /// No location to check.
    #[error(transparent)]
    Input(#[from] InputError),
    /// Nobody reads.
    #[error("cannot write to stdout")]
    Output(#[from] io::Error),
}

/// Whether it was what the program is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Yes.
    Done,
    /// It is no program to be run like that.
    Explained,
    /// The doctor found something wrong.
    Wrong,
}

impl Command {
    /// From the arguments after the program's name.
    ///
    /// # Errors
    /// If they are none of the above.
    pub fn parse(arguments: &[OsString]) -> Result<Self, ByHandError> {
        let Some((first, rest)) = arguments.split_first() else {
            return Ok(Self::Explain);
        };
        match (first.to_str(), rest) {
            (Some("install"), [directory]) if !directory.is_empty() => {
                Ok(Self::Install(PathBuf::from(directory)))
            }
            (Some("install"), _) => Err(ByHandError::Directory),
            (Some("doctor"), options) => {
                let name = OsString::from("doctor");
                let parsed = Doctor::try_parse_from([&name].into_iter().chain(options))?;
                Ok(Self::Doctor(parsed.options))
            }
            (Some("--version" | "-V"), []) => Ok(Self::Version),
            (Some("--help" | "-h" | "help"), []) => Ok(Self::Help),
            _ => Err(ByHandError::Unknown(arguments.join(OsStr::new(" ")))),
        }
    }

    /// Does it.
    ///
    /// # Errors
    /// If it cannot be done.
    pub fn run(self, mut out: impl Write) -> Result<Outcome, ByHandError> {
        match self {
            Self::Explain => {
                write!(out, "{}", explanation())?;
                return Ok(Outcome::Explained);
            }
            Self::Help => write!(out, "{}", explanation())?,
            Self::Version => writeln!(out, "{PROGRAM} {}", env!("CARGO_PKG_VERSION"))?,
            Self::Install(directory) => {
                let target = install(Path::new(SELF), &directory)?;
                writeln!(out, "installed {}", target.display())?;
            }
            Self::Doctor(options) => {
                let runtime = runtime::Builder::new_multi_thread()
                    .worker_threads(2)
                    .enable_all()
                    .build()?;
                let Diagnosis { text, good } = runtime.block_on(doctor::run(&options))?;
                runtime.shutdown_background();
                write!(out, "{text}")?;
                if !good {
                    return Ok(Outcome::Wrong);
                }
            }
        }
        Ok(Outcome::Done)
    }
}

fn explanation() -> String {
    format!(
        "\
{PROGRAM} {version} is a plugin for Velero: snapshots of Azure managed disks, with the
filesystem on the disk held still while the snapshot is cut, and backups in Azure Blob Storage. Velero starts it;
by itself it does nothing.

To install it, add its image to Velero, whose init container runs `install`:

    velero plugin add IMAGE

or copy this program into the directory that Velero reads plugins from:

    {PROGRAM} install DIR     copies itself to DIR/{PROGRAM}, atomically
    {PROGRAM} doctor --config FILE
                              whether a backup with that location would find all that it needs; --help
    {PROGRAM} --version
    {PROGRAM} --help

It then serves VolumeSnapshotLocations and BackupStorageLocations with `provider: stillpoint.io/azure`; with
STILLPOINT_ALSO_SERVE=velero.io/azure in Velero's environment also those of the stock Azure plugin.
",
        version = env!("CARGO_PKG_VERSION"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_understood() {
        for (arguments, expected) in [
            (&[][..], Some(Command::Explain)),
            (&["--help"], Some(Command::Help)),
            (&["--version"], Some(Command::Version)),
            (
                &["install", "/target"],
                Some(Command::Install("/target".into())),
            ),
            (
                &["doctor", "--config", "freeze=auto", "--json"],
                Some(Command::Doctor(doctor::Options {
                    config: vec!["freeze=auto".to_owned()],
                    json: true,
                    ..doctor::Options::default()
                })),
            ),
            (&["doctor", "--verbose"], None),
            (&["install"], None),
            (&["install", ""], None),
            (&["install", "a", "b"], None),
            (&["serve"], None),
            (&["--version", "x"], None),
        ] {
            let arguments: Vec<_> = arguments.iter().map(OsString::from).collect();
            assert_eq!(Command::parse(&arguments).ok(), expected, "{arguments:?}");
        }
    }

    #[test]
    fn explanation_tells_what_and_how() {
        let text = explanation();
        for part in [
            "Velero",
            "install DIR",
            "stillpoint.io/azure",
            "STILLPOINT_ALSO_SERVE",
        ] {
            assert!(text.contains(part), "{part}");
        }
    }
}
