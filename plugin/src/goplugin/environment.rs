//! What the host says about itself in the environment of the process.

use std::{ffi::OsString, path::PathBuf};

use thiserror::Error;

/// The version of the services that Velero and its plugins speak.
pub const APP_PROTOCOL: u32 = 2;

/// The version of go-plugin's own protocol.
pub(super) const CORE_PROTOCOL: u32 = 1;

const COOKIE: (&str, &str) = ("VELERO_PLUGIN", "hello");

/// The host's wishes, as go-plugin writes them.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    pub(super) cookie: bool,
    pub(super) versions: Vec<String>,
    pub(super) client_certificate: Option<String>,
    pub(super) multiplex: bool,
    pub(super) socket_directory: Option<PathBuf>,
    pub(super) socket_group: Option<String>,
}

/// The environment cannot be understood.
#[derive(Debug, Error)]
pub enum EnvironmentError {
    /// go-plugin's variables are ASCII, but for paths.
    #[error("the variable {0} is not UTF-8; the host that starts this plugin sets it")]
    NotUnicode(&'static str),
}

/// The host speaks none of our versions.
#[derive(Debug, Error)]
#[error(
    "the host speaks version {offered} of Velero's plugin protocol, this plugin version {APP_PROTOCOL}: \
     use a plugin and a Velero that fit together (PLUGIN_PROTOCOL_VERSIONS={offered})"
)]
pub struct VersionsUnmet {
    offered: String,
}

impl Environment {
    /// Reads the variables through `var`, which is `std::env::var_os` outside tests.
    ///
    /// # Errors
    /// If a variable that must be text is not UTF-8.
    pub fn read(var: impl Fn(&str) -> Option<OsString>) -> Result<Self, EnvironmentError> {
        let text = |name: &'static str| match var(name).filter(|value| !value.is_empty()) {
            None => Ok(None),
            Some(value) => value
                .into_string()
                .map(Some)
                .map_err(|_| EnvironmentError::NotUnicode(name)),
        };
        let versions = text("PLUGIN_PROTOCOL_VERSIONS")?
            .map(|list| list.split(',').map(str::to_owned).collect())
            .unwrap_or_default();
        Ok(Self {
            cookie: var(COOKIE.0).is_some_and(|value| value == COOKIE.1),
            versions,
            client_certificate: text("PLUGIN_CLIENT_CERT")?,
            multiplex: text("PLUGIN_MULTIPLEX_GRPC")?.is_some(),
            socket_directory: var("PLUGIN_UNIX_SOCKET_DIR")
                .filter(|value| !value.is_empty())
                .map(PathBuf::from),
            socket_group: text("PLUGIN_UNIX_SOCKET_GROUP")?,
        })
    }

    /// Whether Velero started this process; else a person did.
    pub fn started_by_host(&self) -> bool {
        self.cookie
    }

    /// A host that lists no versions is older than the list and takes what it gets.
    ///
    /// # Errors
    /// If the list is there and does not hold our version.
    pub fn negotiate(&self) -> Result<u32, VersionsUnmet> {
        let listed = |version: &String| version.trim().parse() == Ok(APP_PROTOCOL);
        if self.versions.is_empty() || self.versions.iter().any(listed) {
            Ok(APP_PROTOCOL)
        } else {
            Err(VersionsUnmet {
                offered: self.versions.join(","),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        Environment::read(|name| {
            variables
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value.into())
        })
        .unwrap()
    }

    #[test]
    fn versions_are_negotiated() {
        for (offered, met) in [
            ("", true),
            ("2", true),
            ("1,2", true),
            ("3,2,1", true),
            ("1", false),
            ("3", false),
            ("22", false),
            ("x", false),
            ("x,2", true),
        ] {
            let environment = environment(&[("PLUGIN_PROTOCOL_VERSIONS", offered)]);
            assert_eq!(environment.negotiate().is_ok(), met, "{offered:?}");
        }
    }

    #[test]
    fn unmet_versions_are_named() {
        let error = environment(&[("PLUGIN_PROTOCOL_VERSIONS", "3,4")])
            .negotiate()
            .unwrap_err();
        assert!(error.to_string().contains("version 3,4"), "{error}");
        assert!(error.to_string().contains("plugin version 2"), "{error}");
    }

    #[test]
    fn only_veleros_cookie_is_taken() {
        assert!(environment(&[("VELERO_PLUGIN", "hello")]).started_by_host());
        assert!(!environment(&[("VELERO_PLUGIN", "hullo")]).started_by_host());
        assert!(!environment(&[]).started_by_host());
    }

    #[test]
    fn empty_variables_are_absent() {
        let environment = environment(&[
            ("PLUGIN_CLIENT_CERT", ""),
            ("PLUGIN_MULTIPLEX_GRPC", ""),
            ("PLUGIN_UNIX_SOCKET_DIR", ""),
            ("PLUGIN_UNIX_SOCKET_GROUP", ""),
        ]);
        assert!(environment.client_certificate.is_none());
        assert!(!environment.multiplex);
        assert!(environment.socket_directory.is_none());
        assert!(environment.socket_group.is_none());
    }
}
