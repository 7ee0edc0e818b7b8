//! Which credential a location uses, chosen as the stock plugin chooses: secret, then certificate (both
//! need tenant and client ID), then workload identity, then managed identity.

use std::{fmt, path::Path, path::PathBuf, sync::Arc};

use azure_core::{
    credentials::{Secret, TokenCredential},
    http::{ClientOptions, RetryOptions, Transport},
};
use azure_identity::{
    ClientAssertionCredential, ClientAssertionCredentialOptions, ClientSecretCredential,
    ClientSecretCredentialOptions, ManagedIdentityCredential, ManagedIdentityCredentialOptions,
    UserAssignedId, WorkloadIdentityCredential, WorkloadIdentityCredentialOptions,
};

use super::{
    ConnectError,
    certificate::{Certificate, SignedAssertion},
    cloud::Cloud,
    variables::{self as name, Variables},
};

/// What logs in. Equal ones share one login. Holds secrets, hence its own `Debug`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    kind: Kind,
    origin: String,
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum Kind {
    Secret {
        principal: Principal,
        secret: String,
    },
    Certificate {
        principal: Principal,
        variable: &'static str,
        bytes: Vec<u8>,
        password: Option<String>,
        send_chain: bool,
    },
    Workload {
        principal: Principal,
        token_file: PathBuf,
    },
    Managed {
        id: ManagedId,
    },
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Principal {
    tenant: String,
    client: String,
}

/// The stock plugin knows client IDs; a resource ID is told apart by its form.
#[derive(Clone, PartialEq, Eq, Hash)]
enum ManagedId {
    System,
    Client(String),
    Resource(String),
}

impl Identity {
    /// Chooses, and reads what files are named.
    pub(super) fn choose(variables: &Variables) -> Result<Self, ConnectError> {
        let origin = variables.origin.to_string();
        let set = |variable| variables.get(variable).is_some();
        let kind = if set(name::CLIENT_SECRET) {
            Kind::Secret {
                principal: Principal::required(variables)?,
                secret: variables
                    .require(name::CLIENT_SECRET, "the client's secret")?
                    .to_owned(),
            }
        } else if set(name::CLIENT_CERTIFICATE) || set(name::CLIENT_CERTIFICATE_PATH) {
            certificate(variables)?
        } else if set(name::USERNAME) {
            return Err(ConnectError::Password { origin });
        } else if let Some(file) = variables.get_or_injected(name::FEDERATED_TOKEN_FILE) {
            let find = |variable, why| {
                variables
                    .get_or_injected(variable)
                    .map(str::to_owned)
                    .ok_or_else(|| variables.missing(variable, why))
            };
            Kind::Workload {
                principal: Principal::checked(
                    find(name::TENANT_ID, "workload identity needs the tenant's ID")?,
                    find(name::CLIENT_ID, "workload identity needs the client's ID")?,
                    variables,
                )?,
                token_file: file.into(),
            }
        } else {
            let id = match variables.get(name::CLIENT_ID) {
                None => ManagedId::System,
                Some(id) if id.starts_with('/') => ManagedId::Resource(id.to_owned()),
                Some(id) => ManagedId::Client(id.to_owned()),
            };
            Kind::Managed { id }
        };
        Ok(Self { kind, origin })
    }

    /// Whether it must be asked for over plain http on the node itself.
    pub(super) fn is_managed(&self) -> bool {
        matches!(self.kind, Kind::Managed { .. })
    }

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

    /// Where its variables were read.
    pub(super) fn origin(&self) -> &str {
        &self.origin
    }
}

/// Says who, for a person: kind, client and tenant.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Secret { principal, .. } => write!(f, "client secret of {principal}"),
            Kind::Certificate { principal, .. } => write!(f, "client certificate of {principal}"),
            Kind::Workload {
                principal,
                token_file,
            } => write!(
                f,
                "workload identity of {principal} with the token in {}",
                token_file.display()
            ),
            Kind::Managed {
                id: ManagedId::System,
            } => f.write_str("the node's system-assigned managed identity"),
            Kind::Managed {
                id: ManagedId::Client(id) | ManagedId::Resource(id),
            } => write!(f, "managed identity {id}"),
        }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({self})")
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tenant, client } = self;
        write!(f, "AZURE_CLIENT_ID={client} in AZURE_TENANT_ID={tenant}")
    }
}

impl Principal {
    fn required(variables: &Variables) -> Result<Self, ConnectError> {
        let tenant = variables.require(name::TENANT_ID, "a service principal needs its tenant")?;
        let client =
            variables.require(name::CLIENT_ID, "a service principal needs its client ID")?;
        Self::checked(tenant.to_owned(), client.to_owned(), variables)
    }

    fn checked(
        tenant: String,
        client: String,
        variables: &Variables,
    ) -> Result<Self, ConnectError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
        if tenant.chars().all(allowed) {
            return Ok(Self { tenant, client });
        }
        Err(ConnectError::Value {
            name: name::TENANT_ID,
            value: tenant,
            why: "expected the tenant's GUID or its domain name".to_owned(),
            origin: variables.origin.to_string(),
        })
    }
}

fn certificate(variables: &Variables) -> Result<Kind, ConnectError> {
    let principal = Principal::required(variables)?;
    let (variable, bytes) = match variables.get(name::CLIENT_CERTIFICATE) {
        Some(text) => (name::CLIENT_CERTIFICATE, text.as_bytes().to_vec()),
        None => {
            let why = "the client's certificate";
            let path = variables.require(name::CLIENT_CERTIFICATE_PATH, why)?;
            let bytes = std::fs::read(path).map_err(|source| ConnectError::File {
                what: "the client certificate",
                path: path.into(),
                named_by: format!("{} {}", name::CLIENT_CERTIFICATE_PATH, variables.origin),
                source,
            })?;
            (name::CLIENT_CERTIFICATE_PATH, bytes)
        }
    };
    let send_chain = variables
        .get(name::SEND_CERTIFICATE_CHAIN)
        .is_some_and(|value| value == "1" || value.eq_ignore_ascii_case("true"));
    Ok(Kind::Certificate {
        principal,
        variable,
        bytes,
        password: variables
            .get(name::CLIENT_CERTIFICATE_PASSWORD)
            .map(str::to_owned),
        send_chain,
    })
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
