//! A storage account as the resource manager knows it: its keys and its endpoint.

use std::{fmt, sync::Arc, time::Duration};

use azure_core::credentials::Secret;
use serde::{Deserialize, de::DeserializeOwned};
use url::Url;

use super::{
    bucket::Kind,
    core::{CallFailure, Core, Reply, Terms},
    failure::Failure,
};
use crate::{model::ResourceGroup, ports::AzureError};

const API: &str = "api-version=2023-05-01";
/// A location that cannot be looked up must not keep Velero waiting for minutes.
const KEYS: Duration = Duration::from_secs(60);
/// Where Entra is asked for, a cluster may have no way to the resource manager.
const PROPERTIES: Duration = Duration::from_secs(20);

/// See the module.
#[derive(Clone)]
pub(super) struct StorageAccount {
    pub(super) core: Arc<Core>,
    pub(super) group: ResourceGroup,
    pub(super) name: String,
}

/// What the resource manager answered about keys.
pub(super) enum Listed {
    /// The first with all permissions.
    Key { name: String, value: Secret },
    /// We get none, and why; whoever may not list keys may still be allowed to use Entra.
    None(String),
}

/// What an account says of itself.
pub(super) struct Properties {
    /// Accounts in a DNS zone of their own have one that cannot be guessed.
    pub(super) blob_endpoint: Option<Url>,
    pub(super) allows_keys: bool,
}

impl fmt::Display for StorageAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "storage account {} in {}", self.name, self.group)
    }
}

#[derive(Deserialize)]
struct Keys {
    #[serde(default)]
    keys: Vec<Key>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Key {
    #[serde(default)]
    key_name: String,
    value: Option<Secret>,
    #[serde(default)]
    permissions: String,
}

#[derive(Deserialize)]
struct Account {
    properties: Option<AccountProperties>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AccountProperties {
    primary_endpoints: Option<Endpoints>,
    allow_shared_key_access: Option<bool>,
}

#[derive(Deserialize)]
struct Endpoints {
    blob: Option<Url>,
}

impl StorageAccount {
    /// The first key with full permission.
    pub(super) async fn full_key(&self) -> Result<Listed, AzureError> {
        let url = self.url("/listKeys", &format!("{API}&$expand=kerb"));
        let asked = self
            .core
            .call(self.terms(Kind::Write, KEYS), || self.core.wire.post(&url));
        let failure = match asked.await {
            Ok(reply) => {
                let Keys { keys } = self.read(&reply)?;
                let full = keys.into_iter().find(|key| {
                    key.permissions.eq_ignore_ascii_case("full") && key.value.is_some()
                });
                return Ok(
                    match full.and_then(|key| Some((key.key_name, key.value?))) {
                        Some((name, value)) => Listed::Key { name, value },
                        None => {
                            Listed::None("the account lists no key with full permission".to_owned())
                        }
                    },
                );
            }
            Err(failure) => failure,
        };
        match &failure.failure {
            // Not our role's, a policy's or a deny assignment's will; or a ReadOnly lock, under which keys are not listed.
            Failure::Http {
                status: 403, code, ..
            } => Ok(Listed::None(format!(
                "its keys may not be listed by this identity ({code})"
            ))),
            Failure::Http {
                status: 409, code, ..
            } if code.eq_ignore_ascii_case("ScopeLocked") => Ok(Listed::None(format!(
                "a lock on it or its group forbids to list its keys ({code})"
            ))),
            _ => Err(self.error(failure)),
        }
    }

    /// What it says of itself.
    pub(super) async fn properties(&self) -> Result<Properties, AzureError> {
        let url = self.url("", API);
        let reply = self
            .core
            .call(self.terms(Kind::Read, PROPERTIES), || {
                self.core.wire.get(&url)
            })
            .await
            .map_err(|failure| self.error(failure))?;
        let properties = self.read::<Account>(&reply)?.properties;
        let (endpoints, keys) = properties.map_or((None, None), |properties| {
            (
                properties.primary_endpoints,
                properties.allow_shared_key_access,
            )
        });
        Ok(Properties {
            blob_endpoint: endpoints.and_then(|endpoints| endpoints.blob),
            // Null means allowed.
            allows_keys: keys.unwrap_or(true),
        })
    }

    fn url(&self, action: &str, query: &str) -> Url {
        let Self { core, group, name } = self;
        let path = format!("{group}/providers/Microsoft.Storage/storageAccounts/{name}{action}");
        core.wire.url(&path, query)
    }

    fn terms(&self, kind: Kind, within: Duration) -> Terms<'_> {
        Terms {
            kind,
            subscription: &self.group.subscription,
            reserved: false,
            within,
        }
    }

    /// Serde's own words may hold a key.
    fn read<T: DeserializeOwned>(&self, reply: &Reply) -> Result<T, AzureError> {
        serde_json::from_slice(&reply.body).map_err(|error| AzureError::Unanswered {
            resource: self.to_string(),
            message: format!(
                "the resource manager's answer is not what it promises (line {}, column {})",
                error.line(),
                error.column()
            ),
            after: Duration::ZERO,
        })
    }

    fn error(&self, failure: CallFailure) -> AzureError {
        match failure.about(self) {
            AzureError::NotFound { resource, message } => AzureError::NotFound {
                resource,
                message: format!(
                    "{message} — check the location's `storageAccount`, `resourceGroup` and `subscriptionId`; \
                     without the last two AZURE_RESOURCE_GROUP and AZURE_SUBSCRIPTION_ID count"
                ),
            },
            other => other,
        }
    }
}
