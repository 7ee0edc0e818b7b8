//! A door with a certificate in files, a reviewer that does as it is told, and clients.

use std::{path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use clap::Parser;
use kube::core::{
    DynamicObject,
    admission::{AdmissionRequest, AdmissionResponse},
};
use reqwest::Client;
use rustls::{ClientConfig, crypto::aws_lc_rs::default_provider, version::TLS13};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{Semaphore, oneshot};

use super::fake::Fake;
use crate::gate::door::{Door, Options, Pace, Readiness, Reviewer, certificate};

/// Two cores that compile at the same time are slow.
pub(super) const SOON: Duration = Duration::from_secs(30);
pub(super) const PROTOCOLS: [&str; 2] = ["http/1.1", "h2"];

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    door: Options,
}

/// Answers at once, but for objects named `hang`: never. Tells how far it came.
pub(super) struct Stub {
    pub(super) begun: Semaphore,
    pub(super) dropped: Semaphore,
}

struct Dropped<'a>(&'a Semaphore);

impl Drop for Dropped<'_> {
    fn drop(&mut self) {
        self.0.add_permits(1);
    }
}

impl Stub {
    pub(super) async fn until_begun(&self) {
        until(&self.begun).await;
    }

    pub(super) async fn until_dropped(&self) {
        until(&self.dropped).await;
    }
}

async fn until(permits: &Semaphore) {
    let permit = tokio::time::timeout(SOON, permits.acquire()).await;
    permit.expect("it comes soon").unwrap().forget();
}

#[async_trait]
impl Reviewer for Stub {
    async fn review(
        &self,
        request: AdmissionRequest<DynamicObject>,
        within: Duration,
    ) -> AdmissionResponse {
        self.begun.add_permits(1);
        if request.name == "hang" {
            let _dropped = Dropped(&self.dropped);
            std::future::pending::<()>().await;
        }
        let mut response = AdmissionResponse::from(&request);
        response.warnings = Some(vec![format!("within {within:?}")]);
        // The door knows whose answer it is.
        response.uid.clear();
        response
    }
}

pub(super) struct House {
    pub(super) directory: TempDir,
    pub(super) stub: Arc<Stub>,
    pub(super) readiness: Readiness,
    pub(super) address: std::net::SocketAddr,
    pub(super) probes: String,
    pub(super) close: Option<oneshot::Sender<()>>,
    pub(super) served: tokio::task::JoinHandle<()>,
}

impl House {
    pub(super) async fn open(more: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        write_certificate(&directory);
        let path = |name| directory.path().join(name).display().to_string();
        let (certificate, key) = (path("tls.crt"), path("tls.key"));
        let fixed = [
            "gate",
            "--listen",
            "127.0.0.1:0",
            "--probes",
            "127.0.0.1:0",
            "--tls-cert",
            &certificate,
            "--tls-key",
            &key,
        ];
        let options = Cli::parse_from(fixed.iter().chain(more)).door;
        let door = Door::open(&options, Arc::new(Fake::default()))
            .await
            .unwrap();
        Self::of(door, directory)
    }

    pub(super) fn of(door: Door, directory: TempDir) -> Self {
        let door = door.paced(Pace {
            look: Duration::from_millis(20),
            ..Pace::default()
        });
        let door = door.with_metrics(|| "asked 1\n# EOF\n".to_owned());
        let stub = Arc::new(Stub {
            begun: Semaphore::new(0),
            dropped: Semaphore::new(0),
        });
        let (close, closed) = oneshot::channel();
        Self {
            directory,
            stub: Arc::clone(&stub),
            readiness: door.readiness(),
            address: door.address(),
            probes: format!("http://{}", door.probes_address()),
            close: Some(close),
            served: tokio::spawn(door.serve(stub, async move {
                let _ = closed.await;
            })),
        }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.address)
    }

    /// One that trusts the certificate as it is now.
    pub(super) fn client(&self, protocol: &str) -> Client {
        client(self.tls().with_no_client_auth(), protocol)
    }

    pub(super) fn tls(
        &self,
    ) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
        let authorities = std::fs::read(self.directory.path().join("ca.crt")).unwrap();
        let roots = certificate::roots(&authorities).unwrap();
        ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_root_certificates(roots)
    }

    /// The code of a probe and what it says.
    pub(super) async fn probe(&self, path: &str) -> (u16, String) {
        let client = Client::builder().no_proxy();
        let client = client
            .tls_backend_preconfigured(self.tls().with_no_client_auth())
            .build()
            .unwrap();
        let answer = client.get(format!("{}{path}", self.probes)).send().await;
        let answer = answer.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }
}

pub(super) fn client(mut tls: ClientConfig, protocol: &str) -> Client {
    tls.alpn_protocols = vec![protocol.into()];
    let builder = Client::builder().no_proxy().tls_backend_preconfigured(tls);
    builder.build().unwrap()
}

/// A new one in place of what is there.
pub(super) fn write_certificate(directory: &TempDir) {
    let made = certificate::made_for([127, 0, 0, 1].into());
    let path = |name: &str| -> PathBuf { directory.path().join(name) };
    std::fs::write(path("ca.crt"), &made.authorities).unwrap();
    std::fs::write(path("tls.crt"), &made.certificate).unwrap();
    std::fs::write(path("tls.key"), &made.key).unwrap();
}

/// As an API server sends it.
pub(super) fn review(name: &str) -> Value {
    json!({
        "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": { "group": "", "version": "v1", "kind": "ConfigMap" },
            "resource": { "group": "", "version": "v1", "resource": "configmaps" },
            "name": name, "namespace": "default", "operation": "UPDATE",
            "userInfo": { "username": "admin", "groups": ["system:authenticated"] },
            "object": {
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": { "name": name, "namespace": "default" },
            },
            "oldObject": null, "dryRun": false,
            "options": { "kind": "UpdateOptions", "apiVersion": "meta.k8s.io/v1" },
        },
    })
}
