//! A bearer token: what can be read from it, and nothing of it in any log.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use aws_lc_rs::digest;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use http::HeaderValue;
use serde::Deserialize;

use super::{Account, Refusal};

/// What tells tokens apart without being one.
pub(super) type Digest = [u8; 32];

/// A token as a caller sent it: not yet believed.
pub(super) struct Token {
    secret: String,
    pub(super) digest: Digest,
    /// As it says of itself.
    pub(super) account: Account,
    /// As it says of itself.
    pub(super) expires: SystemTime,
}

/// The claims of a service account's token that matter here (RFC 7519).
#[derive(Deserialize)]
struct Claims {
    sub: String,
    exp: u64,
}

impl Token {
    pub(super) fn read(authorization: Option<&HeaderValue>) -> Result<Self, Refusal> {
        let secret = authorization
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, secret)| secret.trim())
            .filter(|secret| !secret.is_empty())
            .ok_or(Refusal::NoToken)?;
        let claims: Claims = secret
            .split('.')
            .nth(1)
            .and_then(|payload| BASE64_URL_SAFE_NO_PAD.decode(payload).ok())
            .and_then(|payload| serde_json::from_slice(&payload).ok())
            .ok_or(Refusal::Unreadable("no JWT with `sub` and `exp`"))?;
        let account = Account::from_user_name(&claims.sub)
            .ok_or(Refusal::Unreadable("not a service account's"))?;
        let expires = SystemTime::UNIX_EPOCH
            .checked_add(Duration::from_secs(claims.exp))
            .ok_or(Refusal::Unreadable("one with an impossible `exp`"))?;
        let mut digest = Digest::default();
        digest.copy_from_slice(digest::digest(&digest::SHA256, secret.as_bytes()).as_ref());
        Ok(Self {
            secret: secret.to_owned(),
            digest,
            account,
            expires,
        })
    }

    /// For Kubernetes' eyes only.
    pub(super) fn secret(&self) -> &str {
        &self.secret
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("account", &self.account)
            .finish_non_exhaustive()
    }
}
