//! What the binary serves; Velero asks once, in a process of its own.

use std::sync::Arc;

use stillpoint_proto::velero::{
    Empty, ListPluginsResponse, PluginIdentifier, plugin_lister_server::PluginLister,
};
use tonic::{Request, Response, Status};

use super::names::Served;

/// Velero's kinds that we serve.
const KINDS: [&str; 2] = ["VolumeSnapshotter", "ObjectStore"];

pub(super) struct Lister {
    pub(super) command: String,
    pub(super) served: Arc<Served>,
}

#[tonic::async_trait]
impl PluginLister for Lister {
    async fn list_plugins(
        &self,
        _: Request<Empty>,
    ) -> Result<Response<ListPluginsResponse>, Status> {
        let names = self.served.names()?;
        let plugins = names
            .iter()
            .flat_map(|name| KINDS.map(|kind| (name, kind)))
            .map(|(name, kind)| PluginIdentifier {
                command: self.command.clone(),
                kind: kind.to_owned(),
                name: name.to_string(),
            })
            .collect();
        Ok(Response::new(ListPluginsResponse { plugins }))
    }
}
