//! How a gate decides where nobody says otherwise.

use std::time::Duration;

use crate::{config::FreezeMode, pv::DRIVER};

/// What the gate is started with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whether to freeze, if neither class nor annotation says.
    pub freeze: FreezeMode,
    /// The longest that a filesystem may stay frozen; kept by the node.
    pub freeze_timeout: Duration,
    /// The drivers whose snapshots are held.
    pub drivers: Vec<String>,
    /// Namespaces whose snapshots pass.
    pub excluded_namespaces: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            freeze: FreezeMode::Auto,
            freeze_timeout: Duration::from_secs(10),
            drivers: vec![DRIVER.to_owned()],
            excluded_namespaces: Vec::new(),
        }
    }
}
