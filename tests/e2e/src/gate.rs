//! The gate as a process beside the cluster.

use std::{ffi::OsString, net::SocketAddr};

use anyhow::Result;
use stillpoint_cluster::{Companion, CompanionOptions, Door};
use stillpoint_system::programs;

use crate::World;

impl World {
    /// Where the gate is to listen, and the webhook to point: an IP address, since there is no DNS.
    pub fn gate_address(&self) -> SocketAddr {
        self.cluster.spare_address(1)
    }

    /// Starts the gate, which the arguments have to tell to listen on [`World::gate_address`]. Drop it before the world.
    pub async fn start_gate(
        &self,
        arguments: Vec<OsString>,
        variables: Vec<(OsString, OsString)>,
    ) -> Result<Companion> {
        self.cluster
            .start_companion(CompanionOptions {
                name: programs::GATE,
                program: programs::program(programs::GATE)?,
                arguments,
                variables,
                door: Door::Tcp(self.gate_address()),
            })
            .await
    }
}
