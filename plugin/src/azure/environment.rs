//! What a location says of Azure, and what its credentials add.

use std::{path::PathBuf, time::Duration};

use url::Url;

use super::{
    ConnectError,
    cloud::Cloud,
    variables::{self as name, Variables},
};
use crate::model::ResourceGroup;

/// What a location says of Azure.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `credentialsFile`; `None`: `AZURE_CREDENTIALS_FILE`, else the process environment.
    pub credentials_file: Option<PathBuf>,
    /// `subscriptionId`: of the snapshots; `None`: the credentials'.
    pub subscription: Option<String>,
    /// `resourceGroup`: of the snapshots; `None`: the credentials'.
    pub resource_group: Option<String>,
    /// `activeDirectoryAuthorityURI`; `None`: the cloud's.
    pub active_directory_authority: Option<Url>,
    /// `resourceManagerEndpoint`; `None`: the cloud's.
    pub resource_manager_endpoint: Option<Url>,
    /// `caCert`: PEM, trusted besides the system's roots.
    pub ca_cert: Option<String>,
    /// `apiTimeout`: how long a call may take with its retries, and an operation until it has ended.
    pub api_timeout: Duration,
}

impl Default for Settings {
    /// Nothing set; `apiTimeout` is two minutes, as in the stock plugin.
    fn default() -> Self {
        Self {
            credentials_file: None,
            subscription: None,
            resource_group: None,
            active_directory_authority: None,
            resource_manager_endpoint: None,
            ca_cert: None,
            api_timeout: Duration::from_secs(120),
        }
    }
}

/// Where things are when an ID does not say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// The cluster's own resource group (`AZURE_SUBSCRIPTION_ID`, `AZURE_RESOURCE_GROUP`), for disks that are
    /// named without one; `None` if the credentials name none.
    pub cluster: Option<ResourceGroup>,
    /// `AZURE_SUBSCRIPTION_ID`.
    pub subscription: Option<String>,
    /// The cloud.
    pub cloud: Cloud,
}

impl Environment {
    pub(super) fn new(settings: &Settings, variables: &Variables) -> Result<Self, ConnectError> {
        let cloud = Cloud::new(
            variables.get(name::CLOUD_NAME).unwrap_or_default(),
            &variables.origin,
            settings.active_directory_authority.as_ref(),
            settings.resource_manager_endpoint.as_ref(),
        )?;
        let cluster = variables
            .get(name::SUBSCRIPTION_ID)
            .zip(variables.get(name::RESOURCE_GROUP))
            .map(|(subscription, group)| ResourceGroup {
                subscription: subscription.to_owned(),
                name: group.to_owned(),
            });
        let subscription = variables.get(name::SUBSCRIPTION_ID).map(str::to_owned);
        Ok(Self {
            cluster,
            subscription,
            cloud,
        })
    }
}

/// Where snapshots go: the location's, else the cluster's.
///
/// # Errors
/// If neither says.
pub(super) fn snapshots(
    settings: &Settings,
    variables: &Variables,
) -> Result<ResourceGroup, ConnectError> {
    let chosen = |given: &Option<String>, variable, why| {
        given
            .as_deref()
            .filter(|given| !given.is_empty())
            .or_else(|| variables.get(variable))
            .map(str::to_owned)
            .ok_or_else(|| variables.missing(variable, why))
    };
    Ok(ResourceGroup {
        subscription: chosen(
            &settings.subscription,
            name::SUBSCRIPTION_ID,
            "the location has no `subscriptionId` either",
        )?,
        name: chosen(
            &settings.resource_group,
            name::RESOURCE_GROUP,
            "the location has no `resourceGroup` either",
        )?,
    })
}
