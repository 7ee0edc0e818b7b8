//! What Init left behind: the location that each name means now, and all that were opened before.
//!
//! At restore Velero calls Init anew for every volume, and then means the location of the last one.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use thiserror::Error;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use super::{
    names::PluginName,
    open::{Config, Open},
};

/// No location to work with.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InitError {
    /// Never initialized.
    #[error("{0} was not initialized: Velero calls Init with a location's config first")]
    Never(PluginName),
    /// The last Init failed.
    #[error("the last Init of {plugin} failed: {reason}")]
    Failed {
        /// Which name.
        plugin: PluginName,
        /// The error that Init returned.
        reason: String,
    },
}

type Opening<T> = Arc<OnceCell<Arc<T>>>;
type Current<T> = Result<Arc<T>, InitError>;

pub(super) struct Initialized<O: Open> {
    opener: O,
    opened: Mutex<HashMap<Config, Opening<O::Opened>>>,
    current: Mutex<HashMap<PluginName, Current<O::Opened>>>,
}

impl<O: Open> Initialized<O> {
    pub(super) fn new(opener: O) -> Self {
        Self {
            opener,
            opened: Mutex::default(),
            current: Mutex::default(),
        }
    }

    /// A failure is remembered for `plugin`, so that no later call goes to a location that was not meant, and
    /// forgotten for the config, so that the next Init tries again.
    pub(super) async fn init(
        &self,
        plugin: PluginName,
        config: Config,
        cancel: CancellationToken,
    ) -> Result<(), O::Error> {
        let opening = Arc::clone(
            self.opened
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .entry(config.clone())
                .or_default(),
        );
        let opened = opening
            .get_or_try_init(async || self.opener.open(config, cancel).await.map(Arc::new))
            .await;
        let (current, answer) = match opened {
            Ok(location) => (Ok(Arc::clone(location)), Ok(())),
            Err(error) => {
                let reason = error.to_string();
                (Err(InitError::Failed { plugin, reason }), Err(error))
            }
        };
        self.current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(plugin, current);
        answer
    }

    pub(super) fn current(&self, plugin: PluginName) -> Current<O::Opened> {
        self.current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&plugin)
            .cloned()
            .unwrap_or(Err(InitError::Never(plugin)))
    }
}
