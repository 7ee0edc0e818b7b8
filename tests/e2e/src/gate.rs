//! The gate as a process beside the cluster, installed by its own manifest.

use std::{ffi::OsString, net::SocketAddr};

use anyhow::{Result, ensure};
use stillpoint_cluster::{Companion, CompanionOptions, Door, until};
use stillpoint_system::programs;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{Cloud, World, world::SOON};

const MANIFEST: &str = include_str!("../../../deploy/gate.yaml");
/// There is no DNS here, so the webhook is reached by an address.
const SERVICE: &str =
    "service: {namespace: velero, name: stillpoint-gate, port: 443, path: /admit}";

/// How the gate is started.
#[derive(Clone, Debug)]
pub struct GateOptions {
    /// It may ask Azure.
    pub azure: bool,
    /// `--freeze-timeout`.
    pub freeze_timeout: &'static str,
    /// Which of them, 0 or 1.
    pub replica: u8,
    /// Where the API server finds the replicas; `None`: only this one, where it listens.
    pub service: Option<SocketAddr>,
}

impl Default for GateOptions {
    fn default() -> Self {
        Self {
            azure: true,
            freeze_timeout: "10s",
            replica: 0,
            service: None,
        }
    }
}

impl World {
    /// Where a replica of the gate listens.
    pub fn gate_address(&self, replica: u8) -> SocketAddr {
        self.cluster.spare_address(1 + 2 * replica)
    }

    fn gate_probes(&self, replica: u8) -> SocketAddr {
        self.cluster.spare_address(2 + 2 * replica)
    }

    /// Installs the gate with the rights of its manifest, starts it and waits until it can be asked. Drop it before the
    /// world.
    pub async fn start_gate(&self, options: &GateOptions) -> Result<Companion> {
        let replica = options.replica;
        let (listen, probes) = (self.gate_address(replica), self.gate_probes(replica));
        let asked = options.service.unwrap_or(listen);
        let url = format!("url: 'https://{asked}/admit'");
        ensure!(
            MANIFEST.contains(SERVICE),
            "the manifest has another clientConfig"
        );
        self.cluster
            .apply_yaml(&MANIFEST.replace(SERVICE, &url))
            .await?;
        let token = self
            .cluster
            .token("velero", "stillpoint-gate", None)
            .await?;
        let kubeconfig = self.cluster.kubeconfig_with("stillpoint-gate", &token)?;
        let mut arguments = vec![
            format!("--kubeconfig={}", kubeconfig.display()),
            format!("--listen={listen}"),
            format!("--advertise={}", asked.ip()),
            format!("--probes={probes}"),
            format!("--freeze-timeout={}", options.freeze_timeout),
            "--agent-service-account=velero/stillpoint-gate".to_owned(),
            "--log-level=debug".to_owned(),
        ];
        let mut variables: Vec<(OsString, OsString)> = Vec::new();
        if options.azure {
            let (endpoints, endpoint) = (self.lab.endpoints(), self.lab.endpoint());
            let credentials = endpoints.credentials_file.display();
            arguments.push(format!("--credentials-file={credentials}"));
            if self.cloud() == Cloud::Named {
                arguments.extend([
                    format!("--resource-manager-endpoint={endpoint}"),
                    format!("--active-directory-authority={endpoint}"),
                ]);
            }
            variables.push(("SSL_CERT_FILE".into(), endpoints.ca_file.clone().into()));
        }
        let gate = self
            .cluster
            .start_companion(CompanionOptions {
                name: [programs::GATE, "stillpoint-gate-1"][usize::from(replica)],
                program: programs::program(programs::GATE)?,
                arguments: arguments.into_iter().map(Into::into).collect(),
                variables,
                door: Door::Tcp(listen),
            })
            .await?;
        self.gate_is_ready(replica).await?;
        Ok(gate)
    }

    /// Waits until the gate says that it can be asked.
    pub async fn gate_is_ready(&self, replica: u8) -> Result<()> {
        let probes = self.gate_probes(replica);
        until("the gate is ready", SOON, async || {
            let mut stream = TcpStream::connect(probes).await?;
            let request = b"GET /readyz HTTP/1.1\r\nHost: gate\r\nConnection: close\r\n\r\n";
            stream.write_all(request).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            Ok(Some(()))
        })
        .await
    }
}
