//! What the driver says of itself.

use tonic::{Request, Response, Status, async_trait};

use super::proto::{
    ControllerGetCapabilitiesResponse, ControllerServiceCapability, GetPluginCapabilitiesRequest,
    GetPluginCapabilitiesResponse, GetPluginInfoRequest, GetPluginInfoResponse, PluginCapability,
    ProbeRequest, ProbeResponse, controller_service_capability as controller, identity_server,
    plugin_capability as plugin,
};
use crate::driver;

#[derive(Debug)]
pub(super) struct Identity;

#[async_trait]
impl identity_server::Identity for Identity {
    async fn get_plugin_info(
        &self,
        _: Request<GetPluginInfoRequest>,
    ) -> Result<Response<GetPluginInfoResponse>, Status> {
        Ok(Response::new(GetPluginInfoResponse {
            name: driver::NAME.into(),
            vendor_version: env!("CARGO_PKG_VERSION").into(),
        }))
    }

    async fn get_plugin_capabilities(
        &self,
        _: Request<GetPluginCapabilitiesRequest>,
    ) -> Result<Response<GetPluginCapabilitiesResponse>, Status> {
        let services = [
            plugin::service::Type::ControllerService,
            plugin::service::Type::GroupControllerService,
        ];
        let capabilities = services.map(|service| PluginCapability {
            service: Some(plugin::Service {
                r#type: service.into(),
            }),
        });
        Ok(Response::new(GetPluginCapabilitiesResponse {
            capabilities: capabilities.into(),
        }))
    }

    async fn probe(&self, _: Request<ProbeRequest>) -> Result<Response<ProbeResponse>, Status> {
        Ok(Response::new(ProbeResponse {}))
    }
}

/// Snapshots, and as the real driver is deployed no lists of them.
pub(super) fn capabilities() -> ControllerGetCapabilitiesResponse {
    let rpc = controller::Rpc {
        r#type: controller::rpc::Type::CreateDeleteSnapshot.into(),
    };
    ControllerGetCapabilitiesResponse {
        capabilities: vec![ControllerServiceCapability { rpc: Some(rpc) }],
    }
}
