//! What Velero does with every plugin at its start, measured.

use std::{io, time::Duration};

use stillpoint_proto::velero::PluginIdentifier;
use thiserror::Error;
use tonic::Status;

use super::{
    plugin::Ended,
    start::{Host, StartError},
    usage::Usage,
};

/// One discovery.
#[derive(Clone, Debug)]
pub struct Discovery {
    /// What the plugin serves.
    pub plugins: Vec<PluginIdentifier>,
    /// From before the start of the process to the answer of ListPlugins.
    pub took: Duration,
    /// Of the process until then.
    pub usage: Usage,
    /// Velero waits for it, too.
    pub ended: Ended,
}

/// The plugin cannot be discovered.
#[derive(Debug, Error)]
pub enum DiscoverError {
    /// Not started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Not listed.
    #[error("the plugin does not list what it serves")]
    List(#[from] Status),
    /// Not ended or not measured.
    #[error("the plugin's process cannot be watched")]
    Watch(#[from] io::Error),
}

impl Host {
    /// Starts, lists, ends.
    ///
    /// # Errors
    /// If one of these fails.
    pub async fn discover(&self) -> Result<Discovery, DiscoverError> {
        let plugin = self.start().await?;
        let plugins = plugin.list_plugins().await?;
        let took = plugin.age();
        let usage = plugin.usage()?;
        Ok(Discovery {
            plugins,
            took,
            usage,
            ended: plugin.shut_down().await?,
        })
    }
}
