//! A VolumeSnapshotLocation's `config`: every key typed, checked and defaulted, once, at Init.
//!
//! The keys are the stock Azure plugin's and Stillpoint's own. Velero adds `credentialsFile` where the location
//! names a credential (velero 1.18, `internal/volume/snapshotlocation.go`), and nothing else. A key
//! without a value counts as not set, as in the stock plugin.

mod duration;
mod location;
mod value;

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use url::Url;

pub use location::Location;

use crate::model::{Sku, Zone};

/// Whether a snapshot is taken of a frozen filesystem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FreezeMode {
    /// Freeze where that is possible, else go on crash-consistent and say so.
    Auto,
    /// No freeze, no snapshot.
    Required,
    /// Never freeze.
    Off,
}

impl FreezeMode {
    /// What holds when an annotation (`stillpoint.io/freeze`) asks for `wish`: the wish, but nobody's `off` or `auto` lowers a
    /// location's `required`.
    pub fn overridden_by(self, wish: Option<Self>) -> Self {
        match (self, wish) {
            (Self::Required, _) | (_, None) => self,
            (Self::Auto | Self::Off, Some(wish)) => wish,
        }
    }
}

impl fmt::Display for FreezeMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Required => "required",
            Self::Off => "off",
        })
    }
}

impl FromStr for FreezeMode {
    type Err = String;

    fn from_str(value: &str) -> Result<Self, String> {
        [Self::Auto, Self::Required, Self::Off]
            .into_iter()
            .find(|mode| mode.to_string() == value)
            .ok_or_else(|| format!("`{value}` is no freeze mode: expected auto, required or off"))
    }
}

/// Which agent freezes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentChoice {
    /// The agent of the volume's node, found through Kubernetes.
    Auto,
    /// One agent on this host, by its socket.
    Unix(PathBuf),
}

/// A location's config that cannot be taken as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A key that nobody reads.
    #[error("VolumeSnapshotLocation config: `{key}` is no key{hint}; the keys are {known}")]
    UnknownKey {
        /// The key.
        key: String,
        /// Empty, or the key that was probably meant.
        hint: String,
        /// All keys.
        known: String,
    },
    /// A value outside of what is allowed.
    #[error("VolumeSnapshotLocation config: `{key}` is `{value}`, expected {expected}")]
    Value {
        /// The key.
        key: &'static str,
        /// Its value; shortened if long.
        value: String,
        /// What is allowed.
        expected: String,
    },
    /// A key that needs another.
    #[error(
        "VolumeSnapshotLocation config: `{key}` is `{value}` but `{needs}` is not set: set both"
    )]
    Needs {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// The one that is missing.
        needs: &'static str,
    },
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
    /// `agent`; auto.
    pub agent: AgentChoice,
}

const KEYS: [&str; 18] = [
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
];

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Settings {
    /// The settings that the config map of a VolumeSnapshotLocation gives.
    ///
    /// # Errors
    /// The first key, in alphabetical order, that nobody reads; else the first value that is not allowed.
    pub fn parse(config: &HashMap<String, String>) -> Result<Self, ConfigError> {
        let keys = Keys { config };
        keys.refuse_unknown()?;
        let subscription = keys.read("subscriptionId", value::subscription)?;
        let target_subscription = keys.read("targetSubscriptionId", value::subscription)?;
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
            agent: keys
                .read("agent", value::agent)?
                .unwrap_or(AgentChoice::Auto),
        };
        keys.needs("subscriptionId", "resourceGroup")?;
        keys.needs("targetSubscriptionId", "targetResourceGroup")?;
        Ok(settings)
    }
}

struct Keys<'a> {
    config: &'a HashMap<String, String>,
}

impl Keys<'_> {
    fn refuse_unknown(&self) -> Result<(), ConfigError> {
        let Some(key) = self
            .config
            .keys()
            .filter(|key| !KEYS.contains(&key.as_str()))
            .min()
        else {
            return Ok(());
        };
        let meant = KEYS.iter().find(|known| known.eq_ignore_ascii_case(key));
        Err(ConfigError::UnknownKey {
            key: key.clone(),
            hint: meant
                .map(|known| format!(" (`{known}`?)"))
                .unwrap_or_default(),
            known: KEYS.join(", "),
        })
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.config
            .get(key)
            .map(String::as_str)
            .filter(|text| !text.is_empty())
    }

    fn read<T>(
        &self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(text) = self.text(key) else {
            return Ok(None);
        };
        parse(text)
            .map(Some)
            .map_err(|expected| ConfigError::Value {
                key,
                value: shortened(text),
                expected,
            })
    }

    /// As in the stock plugin: a subscription alone would name the cluster's resource group in it.
    fn needs(&self, key: &'static str, needs: &'static str) -> Result<(), ConfigError> {
        match (self.text(key), self.text(needs)) {
            (Some(value), None) => Err(ConfigError::Needs {
                key,
                value: value.to_owned(),
                needs,
            }),
            _ => Ok(()),
        }
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(120) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
