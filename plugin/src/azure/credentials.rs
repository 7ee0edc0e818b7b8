//! An identity's credential of `azure_identity`, on our transport.

use std::{path::Path, sync::Arc};

use azure_core::{
    credentials::{Secret, TokenCredential},
    http::{ClientOptions, RetryOptions, Transport},
};
use azure_identity::{
    AzureCliCredential, AzureCliCredentialOptions, ClientAssertionCredential,
    ClientAssertionCredentialOptions, ClientSecretCredential, ClientSecretCredentialOptions,
    ManagedIdentityCredential, ManagedIdentityCredentialOptions, UserAssignedId,
    WorkloadIdentityCredential, WorkloadIdentityCredentialOptions,
};

use super::{
    ConnectError,
    certificate::{Certificate, SignedAssertion},
    cloud::Cloud,
    identity::{Identity, Kind, ManagedId},
    variables as name,
};

impl Identity {
    /// A credential that logs in through `transport`. Nothing is sent yet.
    pub(super) fn credential(
        &self,
        cloud: &Cloud,
        transport: Arc<dyn azure_core::http::HttpClient>,
    ) -> Result<Arc<dyn TokenCredential>, ConnectError> {
        let client_options = ClientOptions {
            transport: Some(Transport::new(transport)),
            // Ours, so that `apiTimeout` bounds it.
            retry: RetryOptions::none(),
            cloud: Some(Arc::new(cloud.configuration())),
            ..ClientOptions::default()
        };
        let built: azure_core::Result<Arc<dyn TokenCredential>> = match &self.kind {
            Kind::Secret { principal, secret } => ClientSecretCredential::new(
                &principal.tenant,
                principal.client.clone(),
                Secret::new(secret.clone()),
                Some(ClientSecretCredentialOptions { client_options }),
            )
            .map(|credential| credential as _),
            Kind::Certificate {
                principal,
                variable,
                bytes,
                password,
                send_chain,
            } => {
                let certificate = Certificate::parse(bytes, password.as_deref()).map_err(|e| {
                    ConnectError::Certificate {
                        name: variable,
                        origin: self.origin.clone(),
                        message: e,
                    }
                })?;
                let assertion = SignedAssertion::new(
                    certificate,
                    &cloud.authority,
                    &principal.tenant,
                    &principal.client,
                    *send_chain,
                );
                ClientAssertionCredential::new(
                    principal.tenant.clone(),
                    principal.client.clone(),
                    assertion,
                    Some(ClientAssertionCredentialOptions { client_options }),
                )
                .map(|credential| credential as _)
            }
            Kind::Workload {
                principal,
                token_file,
            } => {
                readable(token_file)?;
                WorkloadIdentityCredential::new(Some(WorkloadIdentityCredentialOptions {
                    credential_options: ClientAssertionCredentialOptions { client_options },
                    client_id: Some(principal.client.clone()),
                    tenant_id: Some(principal.tenant.clone()),
                    token_file_path: Some(token_file.clone()),
                }))
                .map(|credential| credential as _)
            }
            Kind::Cli {
                tenant,
                subscription,
            } => {
                // One of the two: the CLI takes no tenant beside a subscription.
                let tenant_id = tenant.clone().filter(|_| subscription.is_none());
                AzureCliCredential::new(Some(AzureCliCredentialOptions {
                    subscription: subscription.clone(),
                    tenant_id,
                    executor: None,
                }))
                .map(|credential| credential as _)
            }
            Kind::Managed { id } => {
                let user_assigned_id = match id {
                    ManagedId::System => None,
                    ManagedId::Client(id) => Some(UserAssignedId::ClientId(id.clone())),
                    ManagedId::Resource(id) => Some(UserAssignedId::ResourceId(id.clone())),
                };
                ManagedIdentityCredential::new(Some(ManagedIdentityCredentialOptions {
                    user_assigned_id,
                    client_options,
                }))
                .map(|credential| credential as _)
            }
        };
        built.map_err(|error| ConnectError::Value {
            name: name::CLIENT_ID,
            value: self.to_string(),
            why: error.to_string(),
            origin: self.origin.clone(),
        })
    }
}

fn readable(token_file: &Path) -> Result<(), ConnectError> {
    std::fs::File::open(token_file)
        .map(drop)
        .map_err(|source| ConnectError::File {
            what: "the federated token",
            path: token_file.to_owned(),
            named_by: name::FEDERATED_TOKEN_FILE.to_owned(),
            source,
        })
}
