//! The gate's part of the command line. Every option has an environment variable and a default that fits the manifests.

use std::{path::PathBuf, sync::Arc, time::Duration};

use clap::{ArgAction, Args};
use url::Url;

use super::{Arm, Settings};
use crate::{
    azure::{self, ConnectError},
    config::{FreezeMode, ServiceAccount, duration},
    ports::Azure,
    pv::DRIVER,
};

/// Any of these says that Azure's credentials are meant to be there.
const CREDENTIALS: [&str; 3] = [
    "AZURE_CREDENTIALS_FILE",
    "AZURE_CLIENT_ID",
    "AZURE_SUBSCRIPTION_ID",
];

/// The options of the gate.
#[derive(Clone, Debug, Args)]
#[group(id = "gate")]
#[command(next_help_heading = "What is held")]
pub struct Options {
    /// auto: freeze where an agent can; required: no freeze, no snapshot; off. Classes, and annotations
    /// `stillpoint.io/freeze`, say otherwise
    #[arg(long, env = "STILLPOINT_GATE_FREEZE", default_value = "auto")]
    pub freeze: FreezeMode,
    /// The longest that a filesystem stays frozen, from 1s to 60s; kept by the node
    #[arg(long, env = "STILLPOINT_GATE_FREEZE_TIMEOUT", default_value = "10s", value_parser = limit)]
    pub freeze_timeout: Duration,
    /// CSI drivers whose snapshots are held, with commas between
    #[arg(long, env = "STILLPOINT_GATE_DRIVERS", default_value = DRIVER, value_delimiter = ',')]
    pub drivers: Vec<String>,
    /// Namespaces whose VolumeSnapshots pass, with commas between
    #[arg(
        long,
        env = "STILLPOINT_GATE_EXCLUDE_NAMESPACES",
        value_delimiter = ','
    )]
    pub exclude_namespaces: Vec<String>,
    /// The service account, NAMESPACE/NAME, as which agents are asked; the pod's own if not given
    #[arg(long, env = "STILLPOINT_GATE_AGENT_SERVICE_ACCOUNT", value_parser = account)]
    pub agent_service_account: Option<ServiceAccount>,
    /// Whether Azure is asked when a snapshot's data is fixed; if not given, where there are credentials
    #[arg(long, env = "STILLPOINT_GATE_AZURE", action = ArgAction::Set)]
    pub azure: Option<bool>,
    /// Azure's credentials, as Velero's plugin takes them
    #[arg(long, env = "AZURE_CREDENTIALS_FILE")]
    pub credentials_file: Option<PathBuf>,
    /// Azure Stack and air-gapped clouds: where the resource manager is
    #[arg(long, env = "STILLPOINT_GATE_RESOURCE_MANAGER_ENDPOINT")]
    pub resource_manager_endpoint: Option<Url>,
    /// The same: where tokens come from
    #[arg(long, env = "STILLPOINT_GATE_ACTIVE_DIRECTORY_AUTHORITY")]
    pub active_directory_authority: Option<Url>,
    /// A kubeconfig, outside a cluster; KUBECONFIG if not given
    #[arg(long)]
    pub kubeconfig: Option<PathBuf>,
}

impl Options {
    /// What they say of the holds.
    pub fn settings(&self) -> Settings {
        Settings {
            freeze: self.freeze,
            freeze_timeout: self.freeze_timeout,
            drivers: self.drivers.clone(),
            excluded_namespaces: self.exclude_namespaces.clone(),
        }
    }

    /// Azure, if it is to be asked; logs in in the background.
    ///
    /// # Errors
    /// What is wrong with its credentials.
    pub fn arm(&self) -> Result<Option<Arm>, ConnectError> {
        let is_set = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let given = self.credentials_file.is_some() || CREDENTIALS.iter().any(is_set);
        if !self.azure.unwrap_or(given) {
            return Ok(None);
        }
        let client = azure::connect_to_look(&azure::Settings {
            credentials_file: self.credentials_file.clone(),
            active_directory_authority: self.active_directory_authority.clone(),
            resource_manager_endpoint: self.resource_manager_endpoint.clone(),
            ..azure::Settings::default()
        })?;
        let subscription = client.environment().cluster.clone();
        let ahead = client.clone();
        tokio::spawn(async move {
            if let Err(error) = ahead.log_in().await {
                tracing::warn!(%error, "Azure does not let the gate in");
            }
        });
        let client: Arc<dyn Azure> = Arc::new(client);
        Ok(Some(Arm::new(
            client,
            subscription.map(|group| group.subscription),
        )))
    }
}

fn limit(text: &str) -> Result<Duration, String> {
    let allowed = Duration::from_secs(1)..=Duration::from_secs(60);
    let limit = duration::parse(text).filter(|limit| allowed.contains(limit));
    limit.ok_or_else(|| "expected a duration from 1s to 60s".to_owned())
}

fn account(text: &str) -> Result<ServiceAccount, String> {
    let account = text.split_once('/');
    let account = account.and_then(|(namespace, name)| ServiceAccount::new(namespace, name));
    account.ok_or_else(|| "expected NAMESPACE/NAME of a service account".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    struct Gate {
        #[command(flatten)]
        gate: Options,
    }

    #[test]
    fn the_command_line_is_sound_and_needs_nothing() {
        Gate::command().debug_assert();
        let settings = Gate::parse_from(["gate"]).gate.settings();
        assert_eq!(settings.freeze, FreezeMode::Auto);
        assert_eq!(settings.drivers, [DRIVER]);
        assert!(settings.excluded_namespaces.is_empty());
    }

    #[test]
    fn a_wrong_value_is_named_with_what_was_expected() {
        for (flag, value, expected) in [
            ("--freeze", "always", "auto, required or off"),
            ("--freeze-timeout", "2m", "from 1s to 60s"),
            ("--agent-service-account", "gate", "NAMESPACE/NAME"),
            ("--azure", "perhaps", "--azure"),
        ] {
            let error = Gate::try_parse_from(["gate", flag, value])
                .unwrap_err()
                .to_string();
            assert!(error.contains(expected) && error.contains(value), "{error}");
        }
    }
}
