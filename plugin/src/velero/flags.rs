//! The flags of Velero's server, which it hands on to every plugin; those not known here are not for us.

use std::{ffi::OsString, path::PathBuf, str::FromStr};

use thiserror::Error;
use tracing::level_filters::LevelFilter;

/// What matters to us of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// `--log-level`, if it can be understood.
    pub log_level: LogLevel,
    /// A `--log-level` that cannot.
    pub bad_log_level: Option<String>,
    /// `--kubeconfig`.
    pub kubeconfig: Option<PathBuf>,
}

/// logrus' levels as ours; panic and fatal are errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLevel(LevelFilter);

/// No level of Velero's.
#[derive(Debug, Error)]
#[error("{0:?} is no log level: trace, debug, info, warning, error, fatal, panic")]
pub struct LogLevelError(String);

impl Default for LogLevel {
    fn default() -> Self {
        Self(LevelFilter::INFO)
    }
}

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> Self {
        level.0
    }
}

impl FromStr for LogLevel {
    type Err = LogLevelError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(match text.to_ascii_lowercase().as_str() {
            "trace" => LevelFilter::TRACE,
            "debug" => LevelFilter::DEBUG,
            "info" => LevelFilter::INFO,
            "warn" | "warning" => LevelFilter::WARN,
            "error" | "fatal" | "panic" => LevelFilter::ERROR,
            _ => return Err(LogLevelError(text.to_owned())),
        }))
    }
}

impl Flags {
    /// `--flag=value` and `--flag value`, the last one counts. Never fails: the server has checked its flags.
    pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Self {
        let mut flags = Self::default();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let Some(argument) = argument.to_str() else {
                continue;
            };
            let Some(flag) = argument.strip_prefix("--") else {
                continue;
            };
            let (flag, inline) = match flag.split_once('=') {
                Some((flag, value)) => (flag, Some(OsString::from(value))),
                None => (flag, None),
            };
            match flag {
                "log-level" => flags.set_log_level(inline.or_else(|| arguments.next())),
                "kubeconfig" => {
                    flags.kubeconfig = inline.or_else(|| arguments.next()).map(PathBuf::from);
                }
                _ => {}
            }
        }
        flags
    }

    fn set_log_level(&mut self, value: Option<OsString>) {
        let value = value.unwrap_or_default().to_string_lossy().into_owned();
        match value.parse() {
            Ok(level) => self.log_level = level,
            Err(_) => self.bad_log_level = Some(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_veleros() {
        for (arguments, expected) in [
            (&[][..], LevelFilter::INFO),
            (&["--log-level=debug"], LevelFilter::DEBUG),
            (&["--log-level", "trace"], LevelFilter::TRACE),
            (&["--log-level=WARNING"], LevelFilter::WARN),
            (&["--log-level=fatal"], LevelFilter::ERROR),
            (&["--log-level=loud"], LevelFilter::INFO),
            (&["--log-level"], LevelFilter::INFO),
            (
                &[
                    "--features=EnableCSI",
                    "--uploader-type",
                    "kopia",
                    "--log-level=error",
                ],
                LevelFilter::ERROR,
            ),
        ] {
            let flags = Flags::parse(arguments.iter().map(OsString::from));
            assert_eq!(
                LevelFilter::from(flags.log_level),
                expected,
                "{arguments:?}"
            );
        }
    }

    #[test]
    fn bad_level_is_kept_for_the_log() {
        let flags = Flags::parse(["--log-level=loud".into()]);
        assert_eq!(flags.bad_log_level.as_deref(), Some("loud"));
    }

    #[test]
    fn kubeconfig_is_found_among_others() {
        for arguments in [
            &["-x", "--kubeconfig=/k", "--y"][..],
            &["--kubeconfig", "/k"],
        ] {
            let flags = Flags::parse(arguments.iter().map(OsString::from));
            assert_eq!(flags.kubeconfig, Some(PathBuf::from("/k")), "{arguments:?}");
        }
    }
}
