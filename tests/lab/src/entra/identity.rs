//! Who can log in, and how.

use serde::{Deserialize, Serialize};

/// A service principal or managed identity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Identity {
    /// The tenant's GUID.
    pub tenant: String,
    /// The application's GUID.
    pub client_id: String,
    /// The service principal's GUID.
    pub object_id: String,
    /// Any of these is accepted.
    pub credentials: Vec<Credential>,
    /// Actions it may not do, as patterns: `Microsoft.Compute/disks/beginGetAccess/action`.
    #[serde(default)]
    pub denied: Vec<String>,
}

impl Identity {
    /// An identity of `tenant` with fresh IDs.
    pub fn new(tenant: &str, credentials: Vec<Credential>) -> Self {
        let fresh = || uuid::Uuid::new_v4().to_string();
        Self {
            tenant: tenant.into(),
            client_id: fresh(),
            object_id: fresh(),
            credentials,
            denied: Vec::new(),
        }
    }
}

/// What proves an identity. In JSON: `{"secret": "…"}`, `{"certificate": {"pem": "…"}}`, …
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(
    deny_unknown_fields,
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum Credential {
    /// A client secret.
    Secret(String),
    /// A registered certificate (its first PEM block), matched by thumbprint.
    Certificate {
        /// PEM.
        pem: String,
    },
    /// Any certificate with this common name that the authority issued; the assertion must carry the chain.
    Issued {
        /// The authority in PEM.
        authority: String,
        /// The certificate's common name.
        subject: String,
    },
    /// A federated token, such as a service account's.
    Federated {
        /// `iss`.
        issuer: String,
        /// `sub`, such as `system:serviceaccount:velero:velero`.
        subject: String,
        /// If given, the token must be exactly this; else its claims are believed.
        #[serde(default)]
        token: Option<String>,
    },
    /// Managed: a token for whoever asks the metadata service.
    Managed {
        /// Resource ID of a user-assigned identity; none: the system-assigned one.
        #[serde(default)]
        resource_id: Option<String>,
    },
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Secret(_) => "Secret(…)",
            Self::Certificate { .. } => "Certificate",
            Self::Issued { .. } => "Issued",
            Self::Federated { .. } => "Federated",
            Self::Managed { .. } => "Managed",
        })
    }
}
