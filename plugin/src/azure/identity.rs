//! Which credential a location uses, chosen as the stock plugin chooses: secret, then certificate (both
//! need tenant and client ID), then workload identity, then managed identity.

use std::{fmt, path::PathBuf};

use super::{
    ConnectError,
    variables::{self as name, Variables},
};

/// What logs in. Equal ones share one login. Holds secrets, hence its own `Debug`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    pub(super) kind: Kind,
    pub(super) origin: String,
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) enum Kind {
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
    /// Whoever `az login` let in.
    Cli {
        tenant: Option<String>,
        subscription: Option<String>,
    },
}

/// Who logs in where the variables name nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Otherwise {
    /// The machine: a node of the cluster.
    Machine,
    /// The person at it.
    Person,
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Principal {
    pub(super) tenant: String,
    pub(super) client: String,
}

/// The stock plugin knows client IDs; a resource ID is told apart by its form.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) enum ManagedId {
    System,
    Client(String),
    Resource(String),
}

impl Identity {
    /// Chooses, and reads what files are named.
    pub(super) fn choose(
        variables: &Variables,
        otherwise: Otherwise,
    ) -> Result<Self, ConnectError> {
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
        } else if otherwise == Otherwise::Person {
            let set = |variable| variables.get(variable).map(str::to_owned);
            Kind::Cli {
                tenant: set(name::TENANT_ID),
                subscription: set(name::SUBSCRIPTION_ID),
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
            Kind::Cli { .. } => f.write_str("Azure CLI's login (`az login`)"),
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
