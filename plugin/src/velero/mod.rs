//! Velero's services: what arrives by gRPC is decoded here, and what the use cases answer is encoded.

mod flags;
mod initialized;
mod lister;
mod names;
mod service;
mod snapshotter;

use std::sync::Arc;

use stillpoint_proto::velero::{
    plugin_lister_server::PluginListerServer, volume_snapshotter_server::VolumeSnapshotterServer,
};
use tonic::{Status, service::RoutesBuilder};

use crate::goplugin::Calls;
pub use flags::{Flags, LogLevel};
pub use initialized::InitError;
pub use names::{ALSO_SERVE, NameError, OWN_NAME, PluginName, Served};
pub use service::RequestError;
pub use snapshotter::{Config, CreateSnapshot, CreateVolume, Location, Locations, VolumeInfo};

/// Adds the services; `command` is how Velero called this program.
pub fn register<L>(
    routes: &mut RoutesBuilder,
    calls: &Calls,
    served: Served,
    command: String,
    locations: L,
) where
    L: Locations,
    Status: From<L::Error>,
{
    let served = Arc::new(served);
    let lister = lister::Lister {
        command,
        served: Arc::clone(&served),
    };
    let snapshotter = service::Service::new(calls.clone(), served, locations);
    // go-plugin's hosts set no limit, grpc-go's default would be the sender's.
    let limit = i32::MAX as usize;
    routes
        .add_service(PluginListerServer::new(lister))
        .add_service(
            VolumeSnapshotterServer::new(snapshotter)
                .max_decoding_message_size(limit)
                .max_encoding_message_size(limit),
        );
}
