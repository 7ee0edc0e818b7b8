//! Azure's clouds: where to log in, where the resource manager is, and for whom its token is.

use azure_core::cloud::{CloudConfiguration, CustomConfiguration};
use url::Url;

use super::ConnectError;

/// One cloud's endpoints.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cloud {
    /// Azure's own name of it: `AzurePublicCloud`, `AzureChinaCloud`, `AzureUSGovernmentCloud`.
    pub name: &'static str,
    /// Where tokens come from.
    pub authority: Url,
    /// Azure Resource Manager.
    pub resource_manager: Url,
    /// Ends the host name of a storage account: `core.windows.net`.
    pub storage_suffix: &'static str,
}

/// Name, further spellings in capitals, authority, resource manager, storage suffix.
type Known = (
    &'static str,
    &'static [&'static str],
    &'static str,
    &'static str,
    &'static str,
);

const KNOWN: [Known; 3] = [
    (
        "AzurePublicCloud",
        &["", "AZURECLOUD", "AZUREPUBLICCLOUD"],
        "https://login.microsoftonline.com",
        "https://management.azure.com",
        "core.windows.net",
    ),
    (
        "AzureChinaCloud",
        &["AZURECHINACLOUD"],
        "https://login.chinacloudapi.cn",
        "https://management.chinacloudapi.cn",
        "core.chinacloudapi.cn",
    ),
    (
        "AzureUSGovernmentCloud",
        &["AZUREUSGOVERNMENT", "AZUREUSGOVERNMENTCLOUD"],
        "https://login.microsoftonline.us",
        "https://management.usgovcloudapi.net",
        "core.usgovcloudapi.net",
    ),
];

impl Cloud {
    /// The cloud of that name, in any of the spellings that the stock plugin takes, with the location's own
    /// endpoints instead where given. `origin` says where the name was read.
    pub(super) fn new(
        name: &str,
        origin: &dyn std::fmt::Display,
        authority: Option<&Url>,
        resource_manager: Option<&Url>,
    ) -> Result<Self, ConnectError> {
        let upper = name.to_ascii_uppercase();
        let (name, _, login, manager, storage_suffix) = KNOWN
            .into_iter()
            .find(|(_, spellings, ..)| spellings.contains(&upper.as_str()))
            .ok_or_else(|| ConnectError::UnknownCloud {
                value: name.to_owned(),
                origin: origin.to_string(),
            })?;
        Ok(Self {
            name,
            authority: endpoint("activeDirectoryAuthorityURI", authority, login)?,
            resource_manager: endpoint("resourceManagerEndpoint", resource_manager, manager)?,
            storage_suffix,
        })
    }

    /// For `azure_identity`, which wants the authority without a path.
    pub(super) fn configuration(&self) -> CloudConfiguration {
        let mut custom = CustomConfiguration::default();
        custom.authority_host = self.authority.to_string();
        CloudConfiguration::Custom(custom)
    }

    /// What a token for the resource manager is asked for.
    pub(super) fn scope(&self) -> String {
        format!(
            "{}/.default",
            self.resource_manager.as_str().trim_end_matches('/')
        )
    }
}

fn endpoint(
    key: &'static str,
    given: Option<&Url>,
    default: &'static str,
) -> Result<Url, ConnectError> {
    let wrong = |value: &str| ConnectError::Endpoint {
        key,
        value: value.to_owned(),
    };
    match given {
        // Over plain http the token would be readable on the way.
        Some(url) if url.scheme() != "https" || url.host_str().is_none() => {
            Err(wrong(url.as_str()))
        }
        Some(url) => Ok(url.clone()),
        None => Url::parse(default).map_err(|_| wrong(default)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_the_stock_plugin_is_known() {
        for (spelling, host) in [
            ("", "management.azure.com"),
            ("AzureCloud", "management.azure.com"),
            ("azurepubliccloud", "management.azure.com"),
            ("AzureChinaCloud", "management.chinacloudapi.cn"),
            ("AzureUSGovernment", "management.usgovcloudapi.net"),
            ("AZUREUSGOVERNMENTCLOUD", "management.usgovcloudapi.net"),
        ] {
            let cloud = Cloud::new(spelling, &"", None, None).unwrap();
            assert_eq!(cloud.resource_manager.host_str(), Some(host), "{spelling}");
            assert_eq!(
                cloud.scope(),
                format!("https://{host}/.default"),
                "{spelling}"
            );
        }
    }

    #[test]
    fn an_unknown_cloud_is_told_with_those_known() {
        let error = Cloud::new("AzureMoonCloud", &"in /c", None, None).unwrap_err();
        let error = error.to_string();
        for part in ["`AzureMoonCloud`", "in /c", "AzureChinaCloud"] {
            assert!(error.contains(part), "{part} in {error}");
        }
    }

    #[test]
    fn a_location_s_endpoints_win_and_must_be_https() {
        let own: Url = "https://arm.local:8443".parse().unwrap();
        let cloud = Cloud::new("", &"", None, Some(&own)).unwrap();
        assert_eq!(cloud.scope(), "https://arm.local:8443/.default");
        let plain: Url = "http://arm.local".parse().unwrap();
        let error = Cloud::new("", &"", Some(&plain), None)
            .unwrap_err()
            .to_string();
        assert!(error.contains("activeDirectoryAuthorityURI"), "{error}");
        assert!(error.contains("http://arm.local"), "{error}");
    }
}
