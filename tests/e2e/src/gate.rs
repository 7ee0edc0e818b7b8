//! The gate as a process beside the cluster.

use std::{ffi::OsString, net::SocketAddr};

use anyhow::Result;
use stillpoint_cluster::{Companion, CompanionOptions, Door};
use stillpoint_system::programs;

use crate::World;

impl World {
    /// Where the gate listens, for the webhook's URL: an IP address, since there is no DNS.
    pub fn gate_address(&self) -> SocketAddr {
        self.cluster.spare_address(1)
    }

    /// Starts the gate with all rights in cluster and Azure, as agents know the plugin, unless the arguments say
    /// otherwise. Drop it before the world.
    pub async fn start_gate(&self, arguments: &[&str]) -> Result<Companion> {
        let address = self.gate_address();
        let azure = self.lab.location_config();
        let variables = [
            ("KUBECONFIG", self.cluster.kubeconfig().into()),
            ("STILLPOINT_GATE_LISTEN", address.to_string().into()),
            ("STILLPOINT_GATE_ADVERTISE", address.ip().to_string().into()),
            (
                "STILLPOINT_GATE_PROBES",
                self.cluster.spare_address(2).to_string().into(),
            ),
            (
                "STILLPOINT_GATE_AGENT_SERVICE_ACCOUNT",
                "velero/velero".into(),
            ),
            (
                "AZURE_CREDENTIALS_FILE",
                azure["credentialsFile"].clone().into(),
            ),
            (
                "STILLPOINT_GATE_RESOURCE_MANAGER_ENDPOINT",
                azure["resourceManagerEndpoint"].clone().into(),
            ),
            (
                "STILLPOINT_GATE_ACTIVE_DIRECTORY_AUTHORITY",
                azure["activeDirectoryAuthorityURI"].clone().into(),
            ),
            ("SSL_CERT_FILE", self.trusted().into()),
        ];
        let variables = variables.map(|(key, value): (_, OsString)| (key.into(), value));
        self.cluster
            .start_companion(CompanionOptions {
                name: programs::GATE,
                program: programs::program(programs::GATE)?,
                arguments: arguments.iter().map(Into::into).collect(),
                variables: variables.into(),
                door: Door::Tcp(address),
            })
            .await
    }
}
