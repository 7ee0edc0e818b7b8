//! The instance metadata service: tokens of managed identities.

use http::{Method, StatusCode};
use serde_json::json;

use super::{
    identity::{Credential, Identity},
    tokens,
};
use crate::{
    Moment,
    shared::Shared,
    web::{Answer, Call},
    world::World,
};

/// Answers a request to 169.254.169.254.
pub(crate) fn handle(shared: &Shared, call: &Call) -> Answer {
    if !call
        .path
        .trim_end_matches('/')
        .eq_ignore_ascii_case("/metadata/identity/oauth2/token")
    {
        return Answer::empty(StatusCode::NOT_FOUND);
    }
    if call.method != Method::GET {
        return Answer::empty(StatusCode::METHOD_NOT_ALLOWED);
    }
    if call
        .header("metadata")
        .is_none_or(|value| !value.eq_ignore_ascii_case("true"))
    {
        return refuse("invalid_request", "Required metadata header not specified");
    }
    if call.parameter("api-version").is_none() {
        return refuse(
            "invalid_request",
            "Required query variable 'api-version' is missing",
        );
    }
    let Some(resource) = call.parameter("resource") else {
        return refuse(
            "invalid_resource",
            "AADSTS500011: the query variable 'resource' is missing",
        );
    };
    let mut world = shared.world();
    if !tokens::given_for(&world, resource) {
        let message = format!(
            "AADSTS500011: The resource principal named {resource} was not found in the tenant"
        );
        return refuse("invalid_resource", &message);
    }
    let Some(identity) = chosen(&world, call) else {
        return refuse("invalid_request", "Identity not found");
    };
    let (token, lifetime) = tokens::give(&mut world, &identity, resource);
    if let Some(record) = world.log.get(call.number) {
        record.principal = Some(identity.client_id.clone());
    }
    let now = Moment::now()
        .system
        .duration_since(std::time::SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let (now, seconds) = (now.as_secs(), lifetime.as_secs().max(1));
    // IMDS gives numbers as strings.
    let body = json!({
        "access_token": token, "client_id": identity.client_id, "expires_in": seconds.to_string(),
        "expires_on": (now + seconds).to_string(), "ext_expires_in": seconds.to_string(),
        "not_before": now.to_string(), "resource": resource, "token_type": "Bearer",
    });
    Answer::json(StatusCode::OK, &body)
}

/// By client, object or resource ID; without, the system-assigned one or the only one.
fn chosen(world: &World, call: &Call) -> Option<Identity> {
    let same = |asked: &str, known: &str| asked.eq_ignore_ascii_case(known);
    let resource_of = |identity: &Identity| {
        identity
            .credentials
            .iter()
            .find_map(|credential| match credential {
                Credential::Managed { resource_id } => Some(resource_id.clone()),
                Credential::Secret(_)
                | Credential::Certificate { .. }
                | Credential::Issued { .. }
                | Credential::Federated { .. } => None,
            })
    };
    let managed: Vec<_> = world
        .identities
        .iter()
        .filter_map(|identity| Some((identity, resource_of(identity)?)))
        .collect();
    let resource = call
        .parameter("msi_res_id")
        .or_else(|| call.parameter("mi_res_id"));
    let found = match (
        call.parameter("client_id"),
        call.parameter("object_id"),
        resource,
    ) {
        (Some(client), ..) => managed
            .iter()
            .find(|(identity, _)| same(client, &identity.client_id)),
        (_, Some(object), _) => managed
            .iter()
            .find(|(identity, _)| same(object, &identity.object_id)),
        (.., Some(resource)) => managed
            .iter()
            .find(|(_, known)| known.as_ref().is_some_and(|known| same(resource, known))),
        (None, None, None) => match managed.iter().find(|(_, resource)| resource.is_none()) {
            None if managed.len() == 1 => managed.first(),
            found => found,
        },
    };
    found.map(|(identity, _)| (*identity).clone())
}

fn refuse(error: &str, description: &str) -> Answer {
    Answer::json(
        StatusCode::BAD_REQUEST,
        &json!({"error": error, "error_description": description}),
    )
}
