//! Why the door cannot be opened.

use std::{io, net::SocketAddr, path::PathBuf};

use thiserror::Error;

/// None of these goes away by itself.
#[derive(Debug, Error)]
pub enum DoorError {
    /// Taken, or not of this machine.
    #[error("{address}: {source}; expected an address and port to listen on: set it with {flag}")]
    Listen {
        /// What was to be listened on.
        address: SocketAddr,
        /// Where it is set.
        flag: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// The certificate of the door in files.
    #[error("{}: {reason}; expected a certificate and its key in PEM: set by {flag}", .path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Where it is set.
        flag: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The authorities of clients.
    #[error("{}: {reason}; expected certificates in PEM: set by --client-ca (STILLPOINT_GATE_CLIENT_CA)", .path.display())]
    ClientCa {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// TLS as it is built.
    #[error("TLS: {0}")]
    Tls(String),
}
