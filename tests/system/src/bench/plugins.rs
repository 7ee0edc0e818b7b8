//! The plugins that are compared, each as Velero runs it.

use std::path::PathBuf;

use anyhow::Result;
use stillpoint_lab::host::{Host, Plugin, Snapshotter};

use crate::{
    programs,
    rig::{NAME, Rig},
};

/// A plugin to measure.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) name: &'static str,
    program: PathBuf,
    registered: &'static str,
    ours: bool,
}

impl Candidate {
    pub(super) fn ours() -> Result<Self> {
        let program = programs::program(programs::PLUGIN)?;
        Ok(Self {
            name: "stillpoint",
            program,
            registered: NAME,
            ours: true,
        })
    }

    /// The stock plugin, if it is here.
    pub(super) fn stock() -> Result<Option<Self>> {
        let stock = programs::stock_plugin()?;
        Ok(stock.map(|program| Self {
            name: "stock",
            program,
            registered: "velero.io/azure",
            ours: false,
        }))
    }

    /// Freezes, and says so on its snapshots.
    pub(super) fn freezes(&self) -> bool {
        self.ours
    }

    /// The name under which it serves.
    pub(super) fn registered(&self) -> &'static str {
        self.registered
    }

    /// Without an Azure.
    pub(super) async fn start_alone(&self) -> Result<Plugin> {
        let host = Host::new(&self.program).argument("--log-level=info");
        Ok(host.start().await?)
    }

    pub(super) async fn start(&self, rig: &Rig) -> Result<Plugin> {
        let host = Host::new(&self.program)
            .argument("--log-level=info")
            .variable("SSL_CERT_FILE", &rig.lab.endpoints().ca_file)
            .variable(
                "AZURE_CREDENTIALS_FILE",
                &rig.lab.endpoints().credentials_file,
            );
        Ok(host.start().await?)
    }

    /// Initialized with the keys that both know; ours besides with its agent.
    pub(super) async fn open(&self, rig: &Rig, plugin: &Plugin) -> Result<Snapshotter> {
        let snapshotter = plugin.snapshotter(self.registered);
        let common = ["resourceGroup", "subscriptionId"];
        let more: &[&str] = if self.ours { &["agent"] } else { &[] };
        let mut config = rig.config(&[("incremental", "true")]);
        config.retain(|(key, _)| {
            common.contains(&&**key) || more.contains(&&**key) || key == "incremental"
        });
        let config: Vec<_> = config
            .iter()
            .map(|(key, value)| (&**key, &**value))
            .collect();
        snapshotter.init(&config).await?;
        Ok(snapshotter)
    }
}
