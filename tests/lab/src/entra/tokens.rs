//! Access tokens: given, and verified by ARM.

use std::time::{Duration, Instant, SystemTime};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::identity::Identity;
use crate::{
    Moment,
    arm::{context::Principal, refusal::Refusal},
    world::World,
};

/// A token that was given.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    client: String,
    tenant: String,
    audience: String,
    expires: Instant,
    expires_at: SystemTime,
}

/// Gives a token; a JWT in form, though only the lab can tell a true one.
pub(crate) fn give(world: &mut World, identity: &Identity, audience: &str) -> (String, Duration) {
    let now = Moment::now();
    let lifetime = world.settings.token_lifetime;
    let seconds = |time: SystemTime| {
        time.duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |time| time.as_secs())
    };
    let Identity {
        tenant,
        client_id,
        object_id,
        ..
    } = identity;
    let claims = json!({
        "aud": audience, "iss": format!("https://sts.windows.net/{tenant}/"), "iat": seconds(now.system),
        "nbf": seconds(now.system), "exp": seconds(now.system + lifetime), "appid": client_id, "idtyp": "app",
        "oid": object_id, "sub": object_id, "tid": tenant, "uti": uuid::Uuid::new_v4().to_string(), "ver": "1.0",
    });
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signature = URL_SAFE_NO_PAD.encode(uuid::Uuid::new_v4().as_bytes());
    let token = format!(
        "{}.{}.{signature}",
        part(&json!({"typ": "JWT", "alg": "RS256"})),
        part(&claims)
    );
    let given = Token {
        client: client_id.clone(),
        tenant: tenant.to_ascii_lowercase(),
        audience: audience.into(),
        expires: now.instant + lifetime,
        expires_at: now.system + lifetime,
    };
    world.tokens.insert(token.clone(), given);
    (token, lifetime)
}

/// Whose token an `Authorization` header carries, and of which tenant.
pub(crate) fn verify(world: &World, header: Option<&str>) -> Result<(Principal, String), Refusal> {
    let header = header.ok_or(Refusal::NoToken)?;
    let (scheme, token) = header.split_once(' ').ok_or(Refusal::BadToken)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Refusal::BadToken);
    }
    let token = world.tokens.get(token.trim()).ok_or(Refusal::BadToken)?;
    let now = Moment::now();
    if token.expires <= now.instant {
        let expired = Moment {
            system: token.expires_at,
            ..now
        }
        .to_string();
        return Err(Refusal::ExpiredToken {
            expired,
            now: now.to_string(),
        });
    }
    if !for_resource_manager(world, &token.audience) {
        return Err(Refusal::Audience(token.audience.clone()));
    }
    let identity = world
        .identities
        .iter()
        .find(|identity| identity.client_id.eq_ignore_ascii_case(&token.client));
    let identity = identity.ok_or(Refusal::BadToken)?;
    let principal = Principal {
        client: identity.client_id.clone(),
        object: identity.object_id.clone(),
        denied: identity.denied.clone(),
    };
    Ok((principal, token.tenant.clone()))
}

/// The audience of all storage accounts, the same in every cloud.
const STORAGE: &str = "https://storage.azure.com";

/// Whether Entra gives tokens for this audience.
pub(crate) fn given_for(world: &World, audience: &str) -> bool {
    for_resource_manager(world, audience) || same(STORAGE, audience)
}

/// Whether ARM takes tokens for this audience.
fn for_resource_manager(world: &World, audience: &str) -> bool {
    world.audiences.iter().any(|known| same(known, audience))
}

fn same(known: &str, audience: &str) -> bool {
    known
        .trim_end_matches('/')
        .eq_ignore_ascii_case(audience.trim_end_matches('/'))
}
