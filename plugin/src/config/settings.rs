//! A VolumeSnapshotLocation's config.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    path::PathBuf,
    time::Duration,
};

use url::Url;

use super::{ConfigError, FreezeMode, keys::Keys, value};
use crate::model::{Sku, Zone};

/// Which agent freezes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentChoice {
    /// The agent of the volume's node, found through Kubernetes.
    Auto {
        /// `agentServiceAccount`: who asks the agents, if not the pod's own account.
        account: Option<ServiceAccount>,
    },
    /// One agent on this host, by its socket.
    Unix(PathBuf),
}

/// A Kubernetes ServiceAccount, written `NAMESPACE/NAME`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServiceAccount {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl ServiceAccount {
    /// `None` if either is no name of Kubernetes'.
    pub(crate) fn new(namespace: &str, name: &str) -> Option<Self> {
        let is_name = |text: &str| {
            let allowed =
                |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
            (1..=253).contains(&text.len()) && text.chars().all(allowed)
        };
        (is_name(namespace) && is_name(name)).then(|| Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        })
    }
}

impl fmt::Display for ServiceAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A location's config.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// `resourceGroup`: where snapshots go, if not to the cluster's.
    pub resource_group: Option<String>,
    /// `subscriptionId`: where snapshots go, if not to the cluster's.
    pub subscription: Option<String>,
    /// `apiTimeout`: how long one request to Azure may take with all its retries; 2m.
    pub api_timeout: Duration,
    /// `incremental`: `None` means incremental wherever Azure can.
    pub incremental: Option<bool>,
    /// `tags`: added to every snapshot.
    pub tags: BTreeMap<String, String>,
    /// `activeDirectoryAuthorityURI`.
    pub authority: Option<Url>,
    /// `credentialsFile`.
    pub credentials_file: Option<PathBuf>,
    /// `resourceManagerEndpoint`.
    pub resource_manager: Option<Url>,
    /// `caCert`: PEM.
    pub ca_cert: Option<String>,
    /// `freeze`; auto.
    pub freeze: FreezeMode,
    /// `freezeTimeout`: the longest a filesystem may stay frozen; 10s.
    pub freeze_timeout: Duration,
    /// `zoneMapping`.
    pub zone_mapping: BTreeMap<Zone, Zone>,
    /// `skuMapping`.
    pub sku_mapping: Vec<(Sku, Sku)>,
    /// `targetResourceGroup`.
    pub target_resource_group: Option<String>,
    /// `targetSubscriptionId`.
    pub target_subscription: Option<String>,
    /// `copyTimeout`: how long a backup waits for a background copy; 10m.
    pub copy_timeout: Duration,
    /// `convertToCSI`; true.
    pub convert_to_csi: bool,
    /// `agent` and `agentServiceAccount`; auto.
    pub agent: AgentChoice,
}

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Settings {
    /// All keys.
    pub const KEYS: [&str; 19] = [
        "resourceGroup",
        "subscriptionId",
        "apiTimeout",
        "incremental",
        "tags",
        "activeDirectoryAuthorityURI",
        "credentialsFile",
        "resourceManagerEndpoint",
        "caCert",
        "freeze",
        "freezeTimeout",
        "zoneMapping",
        "skuMapping",
        "targetResourceGroup",
        "targetSubscriptionId",
        "copyTimeout",
        "convertToCSI",
        "agent",
        "agentServiceAccount",
    ];

    /// The settings that the config map of a VolumeSnapshotLocation gives.
    ///
    /// # Errors
    /// The first key, in alphabetical order, that nobody reads; else the first value that is not allowed.
    pub fn parse(config: &HashMap<String, String>) -> Result<Self, ConfigError> {
        let keys = Keys::of("VolumeSnapshotLocation", config, &Self::KEYS)?;
        let subscription = keys.read("subscriptionId", value::subscription)?;
        let target_subscription = keys.read("targetSubscriptionId", value::subscription)?;
        let account = keys.read("agentServiceAccount", value::service_account)?;
        let agent = keys.read("agent", value::agent)?;
        let settings = Self {
            resource_group: keys.read("resourceGroup", value::resource_group)?,
            subscription,
            api_timeout: keys
                .read(
                    "apiTimeout",
                    value::within(SECOND..=DAY, "a duration from 1s to 24h"),
                )?
                .unwrap_or(Duration::from_secs(120)),
            incremental: keys.read("incremental", value::boolean)?,
            tags: keys.read("tags", value::tag_list)?.unwrap_or_default(),
            authority: keys.read("activeDirectoryAuthorityURI", value::endpoint)?,
            credentials_file: keys.read("credentialsFile", value::path)?,
            resource_manager: keys.read("resourceManagerEndpoint", value::endpoint)?,
            ca_cert: keys.read("caCert", value::pem)?,
            freeze: keys
                .read("freeze", value::freeze)?
                .unwrap_or(FreezeMode::Auto),
            freeze_timeout: keys
                .read(
                    "freezeTimeout",
                    value::within(SECOND..=60 * SECOND, "a duration from 1s to 60s"),
                )?
                .unwrap_or(10 * SECOND),
            zone_mapping: keys
                .read("zoneMapping", value::zone_mapping)?
                .unwrap_or_default(),
            sku_mapping: keys
                .read("skuMapping", value::sku_mapping)?
                .unwrap_or_default(),
            target_resource_group: keys.read("targetResourceGroup", value::resource_group)?,
            target_subscription,
            copy_timeout: keys
                .read(
                    "copyTimeout",
                    value::within(Duration::ZERO..=7 * DAY, "a duration from 0s to 168h"),
                )?
                .unwrap_or(Duration::from_secs(600)),
            convert_to_csi: keys.read("convertToCSI", value::boolean)?.unwrap_or(true),
            agent: match agent.flatten() {
                Some(socket) => AgentChoice::Unix(socket),
                None => AgentChoice::Auto { account },
            },
        };
        keys.needs("subscriptionId", "resourceGroup")?;
        keys.needs("targetSubscriptionId", "targetResourceGroup")?;
        Ok(settings)
    }
}
