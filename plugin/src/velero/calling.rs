//! Calls on the locations of one kind: each on the location that the name in the request means now.

use std::{collections::HashMap, sync::Arc};

use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::{initialized::Initialized, names::Served, open::Open};
use crate::goplugin::Calls;

/// See the module.
pub(super) struct Calling<O: Open> {
    calls: Calls,
    served: Arc<Served>,
    initialized: Arc<Initialized<O>>,
}

impl<O> Calling<O>
where
    O: Open,
    Status: From<O::Error>,
{
    pub(super) fn new(calls: Calls, served: Arc<Served>, opener: O) -> Self {
        Self {
            calls,
            served,
            initialized: Arc::new(Initialized::new(opener)),
        }
    }

    /// Opens a location, which `plugin` means from now on.
    pub(super) async fn init(
        &self,
        plugin: &str,
        config: HashMap<String, String>,
    ) -> Result<(), Status> {
        let plugin = self.served.find(plugin)?;
        let initialized = Arc::clone(&self.initialized);
        let config = config.into_iter().collect();
        self.calls
            .run(|cancel| async move { initialized.init(plugin, config, cancel).await })
            .await??;
        Ok(())
    }

    /// Runs `call` on the location that `plugin` means.
    pub(super) async fn on<T, E, F>(
        &self,
        plugin: &str,
        call: impl FnOnce(Arc<O::Opened>, CancellationToken) -> F,
    ) -> Result<T, Status>
    where
        T: Send + 'static,
        E: Send + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
        Status: From<E>,
    {
        let location = self.initialized.current(self.served.find(plugin)?)?;
        Ok(self.calls.run(|cancel| call(location, cancel)).await??)
    }
}
