//! Entra: who gets a token. Client secrets, signed and federated assertions; discovery, as MSAL asks it.

mod assertion;
pub mod identity;
pub(crate) mod imds;
pub(crate) mod refusal;
pub(crate) mod tokens;

use http::{Method, StatusCode};
use serde_json::json;

use self::{
    identity::{Credential, Identity},
    refusal::Refusal,
};
use crate::{
    shared::Shared,
    web::{Answer, Call},
    world::World,
};

/// Whether a path is Entra's rather than ARM's.
pub(crate) fn is_entra(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    !path.starts_with("/subscriptions")
        && (path.ends_with("/oauth2/v2.0/token")
            || path.ends_with("/discovery/instance")
            || path.ends_with("/.well-known/openid-configuration"))
}

/// Answers a request to Entra.
pub(crate) fn handle(shared: &Shared, call: &Call) -> Answer {
    let tenant = call.path.split('/').nth(1).unwrap_or_default().to_owned();
    if call.path.ends_with("/discovery/instance") {
        return discovery(call, &tenant);
    }
    if call.path.ends_with("/openid-configuration") {
        let world = shared.world();
        return match known_tenant(&world, &tenant) {
            Ok(()) => configuration(call, &tenant),
            Err(refusal) => refusal.answer(),
        };
    }
    if call.method != Method::POST {
        return Answer::empty(StatusCode::METHOD_NOT_ALLOWED);
    }
    let mut world = shared.world();
    token(&mut world, call, &tenant).unwrap_or_else(|refusal| refusal.answer())
}

fn known_tenant(world: &World, tenant: &str) -> Result<(), Refusal> {
    let known = world.tenants.contains(&tenant.to_ascii_lowercase());
    if known {
        Ok(())
    } else {
        Err(Refusal::Tenant(tenant.into()))
    }
}

fn token(world: &mut World, call: &Call, tenant: &str) -> Result<Answer, Refusal> {
    known_tenant(world, tenant)?;
    let form: Vec<(String, String)> = url::form_urlencoded::parse(&call.body)
        .into_owned()
        .collect();
    let field = |name: &str| {
        form.iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    };
    match field("grant_type").ok_or(Refusal::Missing("grant_type"))? {
        "client_credentials" => {}
        other => return Err(Refusal::Unsupported(other.into())),
    }
    let client = field("client_id").ok_or(Refusal::Missing("client_id"))?;
    let scope = field("scope").ok_or(Refusal::Missing("scope"))?;
    let identity = world.identities.iter().find(|identity| {
        identity.client_id.eq_ignore_ascii_case(client)
            && identity.tenant.eq_ignore_ascii_case(tenant)
    });
    let identity = identity
        .ok_or_else(|| Refusal::Application {
            client: client.into(),
            tenant: tenant.into(),
        })?
        .clone();
    match (field("client_assertion"), field("client_secret")) {
        (Some(token), _) => {
            let kind =
                field("client_assertion_type").ok_or(Refusal::Missing("client_assertion_type"))?;
            if kind != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
                return Err(Refusal::Malformed(format!(
                    "client_assertion_type '{kind}'"
                )));
            }
            assertion::verify(&identity, token, call, tenant)?;
        }
        (None, Some(secret)) => {
            let fits = |credential: &Credential| matches!(credential, Credential::Secret(known) if known == secret);
            if !identity.credentials.iter().any(fits) {
                return Err(Refusal::Secret(identity.client_id));
            }
        }
        (None, None) => return Err(Refusal::NoCredential),
    }
    // MSAL adds the OpenID scopes to what it is asked for.
    let reserved = ["openid", "profile", "offline_access"];
    let mut wanted = scope
        .split_whitespace()
        .filter(|scope| !reserved.contains(scope));
    let (Some(wanted), None) = (wanted.next(), wanted.next()) else {
        return Err(Refusal::Scope(scope.into()));
    };
    let audience = wanted
        .strip_suffix("/.default")
        .ok_or_else(|| Refusal::Scope(scope.into()))?;
    if !tokens::given_for(world, audience) {
        return Err(Refusal::Resource(audience.into()));
    }
    Ok(given(world, call, &identity, audience))
}

fn given(world: &mut World, call: &Call, identity: &Identity, audience: &str) -> Answer {
    let (token, lifetime) = tokens::give(world, identity, audience);
    if let Some(record) = world.log.get(call.number) {
        record.principal = Some(identity.client_id.clone());
    }
    let seconds = lifetime.as_secs().max(1);
    let body = json!({
        "token_type": "Bearer", "expires_in": seconds, "ext_expires_in": seconds, "access_token": token,
    });
    Answer::json(StatusCode::OK, &body)
}

fn discovery(call: &Call, tenant: &str) -> Answer {
    let (base, host) = (call.base(), &call.host);
    let body = json!({
        "tenant_discovery_endpoint": format!("{base}/{tenant}/v2.0/.well-known/openid-configuration"),
        "api-version": "1.1",
        "metadata": [{"preferred_network": host, "preferred_cache": host, "aliases": [host]}],
    });
    Answer::json(StatusCode::OK, &body)
}

fn configuration(call: &Call, tenant: &str) -> Answer {
    let base = call.base();
    let body = json!({
        "token_endpoint": format!("{base}/{tenant}/oauth2/v2.0/token"),
        "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
        "jwks_uri": format!("{base}/{tenant}/discovery/v2.0/keys"),
        "response_modes_supported": ["query", "fragment", "form_post"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
        "scopes_supported": ["openid", "profile", "email", "offline_access"],
        "issuer": format!("{base}/{tenant}/v2.0"),
        "authorization_endpoint": format!("{base}/{tenant}/oauth2/v2.0/authorize"),
        "device_authorization_endpoint": format!("{base}/{tenant}/oauth2/v2.0/devicecode"),
        "tenant_region_scope": "EU",
        "cloud_instance_name": call.host,
    });
    Answer::json(StatusCode::OK, &body)
}
