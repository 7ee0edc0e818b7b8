//! Velero's services: what arrives by gRPC is decoded here, and what the use cases answer is encoded.

mod calling;
mod cut;
mod flags;
mod initialized;
mod lister;
mod names;
mod object_store;
mod object_store_service;
mod open;
mod request;
mod snapshotter;
mod snapshotter_service;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use stillpoint_proto::velero::{
    object_store_server::ObjectStoreServer, plugin_lister_server::PluginListerServer,
    volume_snapshotter_server::VolumeSnapshotterServer,
};
use tonic::{
    Status,
    service::{LayerExt as _, RoutesBuilder},
};
use tower::util::MapRequestLayer;

use self::{
    calling::Calling, object_store_service::ObjectStoreService,
    snapshotter_service::SnapshotterService,
};
use crate::goplugin::Calls;
pub use flags::{Flags, LogLevel};
pub use initialized::InitError;
pub use names::{ALSO_SERVE, NameError, OWN_NAME, PluginName, Served};
pub use object_store::{Body, Broken, Object, Store};
pub use open::{Config, Open};
pub use request::RequestError;
pub use snapshotter::{CreateSnapshot, CreateVolume, Location, VolumeInfo};

/// Of a message: go-plugin's hosts set none, grpc-go's default would be the sender's.
const LIMIT: usize = i32::MAX as usize;

/// Adds the services; `command` is how Velero called this program.
pub fn register<L, S>(
    routes: &mut RoutesBuilder,
    calls: &Calls,
    served: Served,
    command: String,
    locations: L,
    stores: S,
) where
    L: Open,
    L::Opened: Location<Error = L::Error>,
    Status: From<L::Error>,
    S: Open,
    S::Opened: Store,
    <S::Opened as Store>::Error: std::error::Error + Send + Sync + 'static,
    Status: From<S::Error> + From<<S::Opened as Store>::Error>,
{
    let served = Arc::new(served);
    let lister = lister::Lister {
        command,
        served: Arc::clone(&served),
    };
    let locations = Calling::new(calls.clone(), Arc::clone(&served), locations);
    let snapshotter = SnapshotterService(locations);
    let object_store = ObjectStoreService(Calling::new(calls.clone(), served, stores));
    routes
        .add_service(PluginListerServer::new(lister))
        .add_service(
            VolumeSnapshotterServer::new(snapshotter)
                .max_decoding_message_size(LIMIT)
                .max_encoding_message_size(LIMIT),
        );
    add_object_store(routes, object_store);
}

fn add_object_store<S>(routes: &mut RoutesBuilder, service: ObjectStoreService<S>)
where
    S: Open,
    S::Opened: Store,
    <S::Opened as Store>::Error: std::error::Error + Send + Sync + 'static,
    Status: From<S::Error> + From<<S::Opened as Store>::Error>,
{
    let server = ObjectStoreServer::new(service)
        .max_decoding_message_size(LIMIT)
        .max_encoding_message_size(LIMIT);
    routes.add_service(MapRequestLayer::new(cut::told).named_layer(server));
}
