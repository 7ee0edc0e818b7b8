//! The gate as a process beside the cluster, installed by the chart.

use std::{ffi::OsString, fs, net::SocketAddr, path::PathBuf};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use stillpoint_cluster::{Companion, CompanionOptions, Door, rendered, until};
use stillpoint_lab::{Credential, Identity};
use stillpoint_system::{programs, role};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{Cloud, World, world::SOON};

/// The gate's own, in Azure.
const GATE_CLIENT: &str = "9a7e0000-0000-4000-8000-000000000001";

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

    /// Installs the gate with the rights that the chart gives it, starts it and waits until it can be asked. Drop it before the
    /// world.
    pub async fn start_gate(&self, options: &GateOptions) -> Result<Companion> {
        let replica = options.replica;
        let (listen, probes) = (self.gate_address(replica), self.gate_probes(replica));
        let asked = options.service.unwrap_or(listen);
        for mut object in rendered(&json!({})).await? {
            // There is no DNS here, so the webhook is reached by an address.
            let webhooks = object.get_mut("webhooks").and_then(Value::as_array_mut);
            for webhook in webhooks.into_iter().flatten() {
                let service = &webhook["clientConfig"]["service"];
                ensure!(service["path"] == "/admit", "it is asked at {service}");
                webhook["clientConfig"] = json!({ "url": format!("https://{asked}/admit") });
            }
            self.cluster.apply(object).await?;
        }
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
            let credentials = self.gate_credentials()?;
            arguments.push(format!("--credentials-file={}", credentials.display()));
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

    /// The file of an identity of its own in Azure.
    fn gate_credentials(&self) -> Result<PathBuf> {
        let secret = Credential::Secret("the gate's".into());
        let identity = Identity {
            client_id: GATE_CLIENT.into(),
            ..Identity::new(&self.lab.endpoints().tenant, vec![secret])
        };
        self.lab.add_identity(identity);
        let lines = self.lab.credentials_file();
        let lines = lines.lines().map(|line| match line.split_once('=') {
            Some((name @ "AZURE_CLIENT_ID", _)) => format!("{name}={GATE_CLIENT}\n"),
            Some((name @ "AZURE_CLIENT_SECRET", _)) => format!("{name}=the gate's\n"),
            _ => format!("{line}\n"),
        });
        let path = self.cluster.directory().join("gate-credentials");
        fs::write(&path, lines.collect::<String>())?;
        Ok(path)
    }

    /// Fails unless the gate has needed all of its roles, in the chart and in Azure, and asked for nothing beyond.
    pub async fn gate_has_needed_its_roles(&self) -> Result<()> {
        role::is_exactly("gate", &self.lab.actions(GATE_CLIENT))?;
        self.has_needed_its_roles(programs::GATE, programs::GATE)
            .await
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
