//! Why a location's settings do not lead to Azure.

use std::{io, path::PathBuf};

/// What is wrong with a location's settings or credentials. Never shows a secret.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A file that the settings name cannot be read.
    #[error("cannot read {what} {path:?}, named by {named_by}: {source}")]
    File {
        /// What it is for.
        what: &'static str,
        /// Its path.
        path: PathBuf,
        /// The key or variable that names it.
        named_by: String,
        /// The cause.
        source: io::Error,
    },
    /// A line of the credentials file is no variable.
    #[error("line {line} of the credentials file {path:?} is not a variable: expected NAME=VALUE")]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from one.
        line: usize,
    },
    /// A variable is not set.
    #[error("{name} is not set {origin}: {why}")]
    Missing {
        /// The variable.
        name: &'static str,
        /// What it is needed for.
        why: &'static str,
        /// Where it was looked for.
        origin: String,
    },
    /// The account key that a location names.
    #[error("the location's `storageAccountKeyEnvVar` names {name}, which {why}: {origin}")]
    Key {
        /// The variable.
        name: String,
        /// What is wrong with it; never its value.
        why: &'static str,
        /// Where it was looked for.
        origin: String,
    },
    /// A variable has a value that cannot be right.
    #[error("{name}=`{value}` {origin} is not usable: {why}")]
    Value {
        /// The variable.
        name: &'static str,
        /// Its value; never that of a secret.
        value: String,
        /// What was expected.
        why: String,
        /// Where it was read.
        origin: String,
    },
    /// A cloud that nobody knows.
    #[error(
        "AZURE_CLOUD_NAME=`{value}` {origin} is no known cloud: expected AzurePublicCloud, \
         AzureChinaCloud or AzureUSGovernmentCloud"
    )]
    UnknownCloud {
        /// Its value.
        value: String,
        /// Where it was read.
        origin: String,
    },
    /// A user's name and password.
    #[error(
        "AZURE_USERNAME {origin} asks to log in as a user with a password, which Entra no longer allows \
         without a second factor: set AZURE_CLIENT_SECRET or AZURE_CLIENT_CERTIFICATE_PATH of a service \
         principal, or use workload identity"
    )]
    Password {
        /// Where it was read.
        origin: String,
    },
    /// The client certificate.
    #[error("{name} {origin} does not hold a usable client certificate: {message}")]
    Certificate {
        /// The variable.
        name: &'static str,
        /// Where it was read.
        origin: String,
        /// What is wrong and what was expected.
        message: String,
    },
    /// An endpoint of the location.
    #[error("the location's `{key}` is `{value}`: expected a URL like https://host")]
    Endpoint {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
    },
    /// The location's own certificate authority.
    #[error("the location's `caCert` is not usable: {0}; expected certificates in PEM form")]
    CaCert(String),
}
