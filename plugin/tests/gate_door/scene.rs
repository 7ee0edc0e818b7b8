//! A cluster with the chart in it, whose API server reaches doors of this process instead of the Deployment's pods.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::Result;
use async_trait::async_trait;
use clap::Parser;
use k8s_openapi::api::{admissionregistration::v1::MutatingWebhookConfiguration, core::v1::Secret};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
    core::{
        DynamicObject,
        admission::{AdmissionRequest, AdmissionResponse},
    },
};
use serde_json::{Value, json};
use stillpoint_cluster::{Cluster, Parts, until};
use stillpoint_plugin::{
    gate::door::{Door, Options, Pace, Readiness, Reviewer},
    kubernetes::Webhook,
};
use tokio::{sync::Semaphore, task::JoinHandle};

pub(crate) const SOON: Duration = Duration::from_secs(40);
const CONFIGURATION: &str = "stillpoint-gate";

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    door: Options,
}

/// Writes down what it is asked; never answers about objects named `hang`.
#[derive(Default)]
pub(crate) struct Recorder {
    seen: Mutex<Vec<AdmissionRequest<DynamicObject>>>,
    pub(crate) within: Mutex<Duration>,
    pub(crate) begun: Option<Semaphore>,
    pub(crate) dropped: Option<Semaphore>,
}

struct Dropped<'a>(Option<&'a Semaphore>);

impl Drop for Dropped<'_> {
    fn drop(&mut self) {
        self.0.inspect(|dropped| dropped.add_permits(1));
    }
}

#[async_trait]
impl Reviewer for Recorder {
    async fn review(
        &self,
        request: AdmissionRequest<DynamicObject>,
        within: Duration,
    ) -> AdmissionResponse {
        self.seen.lock().unwrap().push(request.clone());
        *self.within.lock().unwrap() = within;
        self.begun.as_ref().inspect(|begun| begun.add_permits(1));
        if request.name == "hang" {
            let _dropped = Dropped(self.dropped.as_ref());
            std::future::pending::<()>().await;
        }
        AdmissionResponse::from(&request)
    }
}

impl Recorder {
    /// Takes what has been asked so far.
    pub(crate) fn take(&self) -> Vec<AdmissionRequest<DynamicObject>> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

/// A door that serves.
pub(crate) struct Gate {
    pub(crate) address: std::net::SocketAddr,
    pub(crate) readiness: Readiness,
    served: JoinHandle<()>,
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.served.abort();
    }
}

pub(crate) struct Scene {
    pub(crate) recorder: Arc<Recorder>,
    kubeconfig: PathBuf,
    pub(crate) cluster: Cluster,
}

impl Scene {
    /// `None`, said loudly, where it cannot run.
    pub(crate) async fn start() -> Option<Self> {
        Self::start_with(&json!({})).await
    }

    /// The same with these values of the chart.
    pub(crate) async fn start_with(values: &Value) -> Option<Self> {
        if let Some(why) = stillpoint_cluster::missing() {
            eprintln!("SKIPPED: {why}");
            return None;
        }
        Some(Self::begin(values).await.unwrap())
    }

    async fn begin(values: &Value) -> Result<Self> {
        let cluster = Cluster::start(Parts::Api).await?;
        cluster.apply_chart(values).await?;
        let token = cluster.token("velero", "stillpoint-gate", None).await?;
        Ok(Self {
            recorder: Arc::new(Recorder {
                begun: Some(Semaphore::new(0)),
                dropped: Some(Semaphore::new(0)),
                ..Recorder::default()
            }),
            kubeconfig: cluster.kubeconfig_with("stillpoint-gate", &token)?,
            cluster,
        })
    }

    /// A replica, with the rights of the chart's account.
    pub(crate) async fn gate(&self, pace: Pace) -> Gate {
        let local = "127.0.0.1:0";
        let arguments = [
            "gate",
            "--listen",
            local,
            "--probes",
            local,
            "--advertise",
            "127.0.0.1",
            "--namespace",
            "velero",
        ];
        let options = Cli::parse_from(arguments).door;
        let webhook = Webhook::connect(Some(&self.kubeconfig), &options).await;
        let door = Door::open(&options, Arc::new(webhook.unwrap())).await;
        let door = door.unwrap().paced(pace);
        Gate {
            address: door.address(),
            readiness: door.readiness(),
            served: tokio::spawn(door.serve(self.recorder.clone(), std::future::pending())),
        }
    }

    pub(crate) async fn ready_gate(&self, pace: Pace) -> Gate {
        let gate = self.gate(pace).await;
        let ready = until("the gate is ready", SOON, async || {
            gate.readiness.check().map(Some).map_err(anyhow::Error::msg)
        });
        ready.await.unwrap();
        gate
    }

    pub(crate) fn client(&self) -> Client {
        self.cluster.client()
    }

    pub(crate) fn configurations(&self) -> Api<MutatingWebhookConfiguration> {
        Api::all(self.client())
    }

    /// Each webhook's caBundle.
    pub(crate) async fn bundles(&self) -> Vec<Vec<u8>> {
        let configuration = self.configurations().get(CONFIGURATION).await.unwrap();
        let webhooks = configuration.webhooks.unwrap().into_iter();
        let bundles = webhooks.map(|webhook| webhook.client_config.ca_bundle);
        bundles
            .map(|bundle| bundle.map_or(Vec::new(), |bundle| bundle.0))
            .collect()
    }

    /// The certificate's Secret.
    pub(crate) async fn secret(&self) -> Secret {
        let secrets: Api<Secret> = Api::namespaced(self.client(), "velero");
        secrets.get("stillpoint-gate-certificate").await.unwrap()
    }

    /// Has the API server ask these doors, one for each webhook, and fail what it cannot ask about.
    pub(crate) async fn ask(&self, contents: &Gate, groups: &Gate, timeout: u32) {
        let webhook = |name, gate: &Gate| {
            json!({
                "name": name,
                "failurePolicy": "Fail",
                "timeoutSeconds": timeout,
                "clientConfig": {
                    "service": null, "url": format!("https://{}/admit", gate.address),
                },
            })
        };
        let webhooks = [
            webhook("contents.gate.stillpoint.io", contents),
            webhook("groups.gate.stillpoint.io", groups),
        ];
        self.patch_configuration(json!({ "webhooks": webhooks }))
            .await;
    }

    pub(crate) async fn patch_configuration(&self, patch: Value) {
        let params = PatchParams::default();
        let patch = Patch::Strategic(patch);
        let api = self.configurations();
        api.patch(CONFIGURATION, &params, &patch).await.unwrap();
    }

    /// Waits until the API server has taken over the webhooks' configuration: it asks about this content.
    pub(crate) async fn until_asked(&self) {
        let mut number = 0;
        let asked = until("the API server asks", SOON, async || {
            number += 1;
            self.create(&format!("asked-{number}"), json!({})).await?;
            self.mark(&format!("asked-{number}")).await?;
            Ok((!self.recorder.take().is_empty()).then_some(()))
        });
        asked.await.unwrap();
    }
}
