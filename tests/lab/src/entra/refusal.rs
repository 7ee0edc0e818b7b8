//! Entra's errors: `AADSTS` numbers, as clients show them to people.

use http::StatusCode;
use serde_json::json;

use crate::{Moment, web::Answer};

/// Why no token is given.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[allow(missing_docs)]
pub(crate) enum Refusal {
    #[error(
        "Tenant '{0}' not found. Check to make sure you have the correct tenant ID and are signing into the correct \
         cloud. Check with your subscription administrator, this may happen if there are no active subscriptions for \
         the tenant."
    )]
    Tenant(String),
    #[error(
        "Application with identifier '{client}' was not found in the directory '{tenant}'. This can happen if the \
         application has not been installed by the administrator of the tenant or consented to by any user in the \
         tenant. You may have sent your authentication request to the wrong tenant."
    )]
    Application { client: String, tenant: String },
    #[error(
        "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not \
         the client secret ID, for a secret added to app '{0}'."
    )]
    Secret(String),
    #[error("The request body must contain the following parameter: '{0}'.")]
    Missing(&'static str),
    #[error(
        "The request body must contain the following parameter: 'client_assertion' or 'client_secret'."
    )]
    NoCredential,
    #[error(
        "The app needs access to a service ('{0}') that your organization has not subscribed to or enabled."
    )]
    Unsupported(String),
    #[error("The resource principal named {0} was not found in the tenant named Lab.")]
    Resource(String),
    #[error(
        "The provided value for scope {0} is not valid. Client credential flows must have a scope value with /.default \
         suffixed to the resource identifier (application ID URI)."
    )]
    Scope(String),
    #[error("Client assertion is not a well-formed token: {0}.")]
    Malformed(String),
    #[error("Client assertion contains an invalid signature. [Reason - {0}]")]
    Signature(String),
    #[error("Client assertion is not within its valid time range. {0}")]
    Time(String),
    #[error("Client assertion audience claim does not match Realm issuer. Seen: '{0}'.")]
    Audience(String),
    #[error("Client assertion application identifier doesn't match 'client_id' parameter.")]
    Identifier,
    #[error("No matching federated identity record found for presented assertion issuer '{0}'.")]
    Issuer(String),
    #[error("No matching federated identity record found for presented assertion subject '{0}'.")]
    Subject(String),
    #[error("No matching federated identity record found for presented assertion audience '{0}'.")]
    FederatedAudience(String),
}

impl Refusal {
    fn parts(&self) -> (StatusCode, &'static str, u32) {
        match self {
            Self::Tenant(_) => (StatusCode::BAD_REQUEST, "invalid_request", 90002),
            Self::Application { .. } => (StatusCode::BAD_REQUEST, "unauthorized_client", 700_016),
            Self::Secret(_) => (StatusCode::UNAUTHORIZED, "invalid_client", 7_000_215),
            Self::Missing(_) => (StatusCode::BAD_REQUEST, "invalid_request", 900_144),
            Self::NoCredential => (StatusCode::UNAUTHORIZED, "invalid_client", 7_000_218),
            Self::Unsupported(_) => (StatusCode::BAD_REQUEST, "unsupported_grant_type", 70003),
            Self::Resource(_) => (StatusCode::BAD_REQUEST, "invalid_resource", 500_011),
            Self::Scope(_) => (StatusCode::BAD_REQUEST, "invalid_scope", 1_002_012),
            Self::Malformed(_) => (StatusCode::BAD_REQUEST, "invalid_request", 50027),
            Self::Signature(_) => (StatusCode::UNAUTHORIZED, "invalid_client", 700_027),
            Self::Time(_) => (StatusCode::UNAUTHORIZED, "invalid_client", 700_024),
            Self::Audience(_) => (StatusCode::UNAUTHORIZED, "invalid_client", 700_023),
            Self::Identifier => (StatusCode::UNAUTHORIZED, "invalid_client", 700_021),
            Self::Issuer(_) => (StatusCode::UNAUTHORIZED, "invalid_client", 700_211),
            Self::Subject(_) => (StatusCode::UNAUTHORIZED, "invalid_client", 700_213),
            Self::FederatedAudience(_) => (StatusCode::UNAUTHORIZED, "invalid_client", 700_212),
        }
    }

    pub(crate) fn answer(&self) -> Answer {
        let (status, error, number) = self.parts();
        let (trace, correlation) = (uuid::Uuid::new_v4(), uuid::Uuid::new_v4());
        let now = Moment::now().to_string();
        let time = format!("{} {}Z", &now[..10], &now[11..19]);
        let description = format!(
            "AADSTS{number}: {self} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {time}"
        );
        let body = json!({
            "error": error, "error_description": description, "error_codes": [number], "timestamp": time,
            "trace_id": trace.to_string(), "correlation_id": correlation.to_string(),
            "error_uri": format!("https://login.microsoftonline.com/error?code={number}"),
        });
        Answer::json(status, &body)
    }
}
