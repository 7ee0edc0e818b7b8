//! Why ARM refuses a request: status, code and message as Azure gives them.

use http::StatusCode;
use serde_json::json;

use crate::{Kind, web::Answer};

/// What is allowed by itself, but needs something on another resource that is not.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(
    "The client '{client}' with object id '{object}' has permission to perform action '{action}' on scope '{scope}'; \
     however, it does not have permission to perform action(s) '{linked_action}' on the linked scope(s) \
     '{linked_scope}' (respectively) or the linked scope(s) are invalid."
)]
pub(crate) struct LinkedDenial {
    pub(crate) client: String,
    pub(crate) object: String,
    pub(crate) action: String,
    pub(crate) scope: String,
    pub(crate) linked_action: String,
    pub(crate) linked_scope: String,
}

/// An error answer of ARM, of `Microsoft.Compute` or of `Microsoft.Storage`.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[allow(missing_docs)]
pub(crate) enum Refusal {
    #[error("Authentication failed. The 'Authorization' header is missing.")]
    NoToken,
    #[error("The access token is invalid.")]
    BadToken,
    #[error(
        "The access token expiry UTC time '{expired}' is earlier than current UTC time '{now}'."
    )]
    ExpiredToken { expired: String, now: String },
    #[error(
        "The access token has been obtained for wrong audience or resource '{0}'. It should exactly match with one of \
         the allowed audiences 'https://management.core.windows.net/','https://management.core.windows.net',\
         'https://management.azure.com/','https://management.azure.com'."
    )]
    Audience(String),
    #[error(
        "The access token is from the wrong issuer 'https://sts.windows.net/{seen}/'. It must match the tenant \
         'https://sts.windows.net/{expected}/' associated with this subscription."
    )]
    Tenant { seen: String, expected: String },
    #[error(
        "The client '{client}' with object id '{object}' does not have authorization to perform action '{action}' over \
         scope '{scope}' or the scope is invalid. If access was recently granted, please refresh your credentials."
    )]
    Denied {
        client: String,
        object: String,
        action: String,
        scope: String,
    },
    #[error(
        "The scope '{scope}' cannot perform {operation} operation because following scope(s) are locked: '{locked}'. \
         Please remove the lock and try again."
    )]
    Locked {
        scope: String,
        operation: &'static str,
        locked: String,
    },
    #[error("{0}")]
    LinkedDenied(Box<LinkedDenial>),
    #[error("The api-version query parameter (?api-version=) is required for all requests.")]
    NoApiVersion,
    #[error(
        "No registered resource provider found for location '{location}' and API version '{seen}' for type '{kind}'. \
         The supported api-versions are '{known}'."
    )]
    ApiVersion {
        location: String,
        seen: String,
        kind: String,
        known: String,
    },
    #[error("The provided subscription identifier '{0}' is malformed or invalid.")]
    SubscriptionForm(String),
    #[error("The subscription '{0}' could not be found.")]
    Subscription(String),
    #[error("Resource group '{0}' could not be found.")]
    Group(String),
    #[error(
        "The Resource '{kind}/{name}' under resource group '{group}' was not found. For more details \
         please go to https://aka.ms/ARMResourceNotFoundFix"
    )]
    Resource {
        kind: Kind,
        name: String,
        group: String,
    },
    #[error("The entity was not found.")]
    Operation,
    #[error("No HTTP resource was found that matches the request URI '{0}'.")]
    Path(String),
    #[error("The requested resource does not support http method '{0}'.")]
    Method(String),
    #[error("The lab does not know {0}.")]
    NotSimulated(String),
    #[error("The request content was invalid and could not be deserialized: '{0}'.")]
    Content(String),
    #[error("The content media type '{0}' is not supported. Only 'application/json' is supported.")]
    MediaType(String),
    #[error("The location property is required for this definition.")]
    NoLocation,
    #[error(
        "The provided location '{location}' is not available for resource type '{kind}'. List of \
         available regions for the resource type is '{known}'."
    )]
    Location {
        location: String,
        kind: Kind,
        known: String,
    },
    #[error(
        "The resource '{name}' already exists in location '{existing}' in resource group '{group}'. A resource with \
         the same name cannot be created in location '{asked}'. Please select a new resource name."
    )]
    Moved {
        name: String,
        existing: String,
        group: String,
        asked: String,
    },
    #[error("Required parameter '{0}' is missing (null).")]
    Missing(&'static str),
    #[error("{message}")]
    Parameter { target: String, message: String },
    #[error(
        "The entity name '{0}' is invalid according to its validation rule: ^[^_\\W][\\w-._]{{0,79}}(?<![-.])$."
    )]
    Name(&'static str),
    #[error("{0}")]
    TagCharacters(String),
    #[error("{0}")]
    TagLength(String),
    #[error("The number of tags on the resource is '{0}'. The maximum allowed is '50'.")]
    TagCount(usize),
    #[error(
        "The zone(s) '{zone}' for resource '{resource}' is not supported. The supported zones for location '{location}' are '{known}'"
    )]
    Zone {
        zone: String,
        resource: String,
        location: String,
        known: String,
    },
    #[error(
        "The provided location '{location}' does not support availability zones for resource '{resource}'."
    )]
    NoZones { location: String, resource: String },
    #[error("Changing property '{0}' is not allowed.")]
    Change(String),
    #[error("{0}")]
    SkuNotAvailable(String),
    #[error("{0}")]
    NotAllowed(String),
    #[error("{0}")]
    Busy(String),
    #[error("Values for request parameters are invalid: {0}.")]
    Values(&'static str),
    #[error(
        "{0} is not a valid storage account name. Storage account name must be between 3 and 24 characters in length \
         and use numbers and lower-case letters only."
    )]
    AccountName(String),
    #[error("The storage account named {0} is already taken.")]
    AccountTaken(String),
    #[error(
        "Number of '{kind}' requests for subscription '{subscription}' actor '{actor}' exceeded. Please try again after \
         '{seconds}' seconds after additional tokens are available. Refer to https://aka.ms/arm-throttling for \
         additional information."
    )]
    Throttled {
        kind: &'static str,
        subscription: String,
        actor: String,
        seconds: u64,
    },
    #[error(
        "The server rejected the request because too many requests have been received for this subscription."
    )]
    ResourceThrottled { seconds: u64 },
    #[error("The lab's storage failed: {0}")]
    Storage(String),
}

impl Refusal {
    /// A wrong value of a property.
    pub(crate) fn parameter(target: &str, message: impl Into<String>) -> Self {
        Self::Parameter {
            target: target.into(),
            message: message.into(),
        }
    }

    pub(crate) fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::NoToken => (StatusCode::UNAUTHORIZED, "AuthenticationFailed"),
            Self::BadToken => (StatusCode::UNAUTHORIZED, "InvalidAuthenticationToken"),
            Self::ExpiredToken { .. } => (StatusCode::UNAUTHORIZED, "ExpiredAuthenticationToken"),
            Self::Audience(_) => (
                StatusCode::UNAUTHORIZED,
                "InvalidAuthenticationTokenAudience",
            ),
            Self::Tenant { .. } => (StatusCode::UNAUTHORIZED, "InvalidAuthenticationTokenTenant"),
            Self::Denied { .. } => (StatusCode::FORBIDDEN, "AuthorizationFailed"),
            Self::Locked { .. } => (StatusCode::CONFLICT, "ScopeLocked"),
            Self::LinkedDenied(_) => (StatusCode::FORBIDDEN, "LinkedAuthorizationFailed"),
            Self::NoApiVersion => (StatusCode::BAD_REQUEST, "MissingApiVersionParameter"),
            Self::ApiVersion { .. } => (StatusCode::BAD_REQUEST, "NoRegisteredProviderFound"),
            Self::SubscriptionForm(_) => (StatusCode::BAD_REQUEST, "InvalidSubscriptionId"),
            Self::Subscription(_) => (StatusCode::NOT_FOUND, "SubscriptionNotFound"),
            Self::Group(_) => (StatusCode::NOT_FOUND, "ResourceGroupNotFound"),
            Self::Resource { .. } => (StatusCode::NOT_FOUND, "ResourceNotFound"),
            Self::Operation | Self::Path(_) => (StatusCode::NOT_FOUND, "NotFound"),
            Self::Method(_) => (StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed"),
            Self::NotSimulated(_) => (StatusCode::NOT_IMPLEMENTED, "NotImplemented"),
            Self::Content(_) => (StatusCode::BAD_REQUEST, "InvalidRequestContent"),
            Self::MediaType(_) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType"),
            Self::NoLocation => (StatusCode::BAD_REQUEST, "LocationRequired"),
            Self::Location { .. } => (
                StatusCode::BAD_REQUEST,
                "LocationNotAvailableForResourceType",
            ),
            Self::Moved { .. } => (StatusCode::CONFLICT, "InvalidResourceLocation"),
            Self::Missing(_) | Self::Parameter { .. } | Self::Name(_) => {
                (StatusCode::BAD_REQUEST, "InvalidParameter")
            }
            Self::TagCharacters(_) => (StatusCode::BAD_REQUEST, "InvalidTagNameCharacters"),
            Self::TagLength(_) => (StatusCode::BAD_REQUEST, "InvalidTagLength"),
            Self::TagCount(_) => (StatusCode::BAD_REQUEST, "TooManyTags"),
            Self::Zone { .. } => (StatusCode::BAD_REQUEST, "InvalidAvailabilityZone"),
            Self::NoZones { .. } => (
                StatusCode::BAD_REQUEST,
                "LocationNotSupportAvailabilityZones",
            ),
            Self::Change(_) => (StatusCode::CONFLICT, "PropertyChangeNotAllowed"),
            Self::SkuNotAvailable(_) => (StatusCode::CONFLICT, "SkuNotAvailable"),
            Self::NotAllowed(_) => (StatusCode::CONFLICT, "OperationNotAllowed"),
            Self::Busy(_) => (StatusCode::CONFLICT, "Conflict"),
            Self::Values(_) => (StatusCode::BAD_REQUEST, "InvalidValuesForRequestParameters"),
            Self::AccountName(_) => (StatusCode::BAD_REQUEST, "AccountNameInvalid"),
            Self::AccountTaken(_) => (StatusCode::CONFLICT, "StorageAccountAlreadyTaken"),
            Self::Throttled { .. } => (
                StatusCode::TOO_MANY_REQUESTS,
                "SubscriptionRequestsThrottled",
            ),
            Self::ResourceThrottled { .. } => {
                (StatusCode::TOO_MANY_REQUESTS, "OperationNotAllowed")
            }
            Self::Storage(_) => (StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError"),
        }
    }

    /// `authority` is where a token can be had, for `WWW-Authenticate`.
    pub(crate) fn answer(&self, authority: &str) -> Answer {
        let (status, code) = self.status_and_code();
        let message = self.to_string();
        let mut error = json!({"code": code, "message": message});
        match self {
            Self::Parameter { target, .. } | Self::Change(target) => {
                error["target"] = json!(target)
            }
            Self::Missing(target) | Self::Name(target) => error["target"] = json!(target),
            Self::ResourceThrottled { .. } => {
                let detail = r#"{"operationGroup":"HighCostSnapshotCreateHydrate3Min"}"#;
                error["details"] = json!([{"code": "TooManyRequests", "target": "HighCostSnapshotCreateHydrate3Min",
                    "message": detail}]);
            }
            _ => {}
        }
        let mut answer = Answer::json(status, &json!({"error": error}));
        if status == StatusCode::UNAUTHORIZED {
            let challenge = format!(
                "Bearer authorization_uri=\"{authority}\", error=\"invalid_token\", error_description=\"{message}\""
            );
            answer = answer.header("www-authenticate", challenge);
        }
        if let Self::Throttled { seconds, .. } | Self::ResourceThrottled { seconds } = self {
            answer = answer.header("retry-after", seconds.to_string());
        }
        answer
    }
}
