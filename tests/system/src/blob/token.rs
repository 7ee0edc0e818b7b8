//! Access tokens that Azurite takes.

use std::time::{Duration, SystemTime};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::json;

/// A token for storage that is good for `lifetime`. Azurite looks at the claims and at no signature: whoever gives
/// tokens, such as the lab, gives ones that it takes.
pub fn token(audience: &str, lifetime: Duration) -> String {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let claims = json!({
        "aud": audience,
        "iss": "https://sts.windows.net/00000000-0000-0000-0000-000000000000/",
        "iat": now.as_secs(),
        "nbf": now.as_secs(),
        "exp": (now + lifetime).as_secs(),
    });
    let header = json!({"typ": "JWT", "alg": "RS256"});
    let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{}", part(header), part(claims), "bm9uZQ")
}
