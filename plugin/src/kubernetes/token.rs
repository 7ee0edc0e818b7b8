//! Tokens for the agents: by TokenRequest, for their audience only, renewed ahead.

use std::time::Duration;

use k8s_openapi::{
    api::{
        authentication::v1::{TokenRequest, TokenRequestSpec},
        core::v1::ServiceAccount as Account,
    },
    jiff::Timestamp,
};
use kube::{Api, Client, api::PostParams};
use tokio::{sync::Mutex, time::Instant};

use super::patiently;
use crate::{agent::Token, config::ServiceAccount};

const AUDIENCE: &str = "stillpoint-agent";
const LIFETIME: i64 = 3600;
/// A token is renewed when less than this part of its life is left.
const AHEAD: u32 = 5;

/// The tokens of one account.
pub(super) struct Tokens {
    api: Api<Account>,
    account: ServiceAccount,
    current: Mutex<Option<Current>>,
}

struct Current {
    token: Token,
    renew: Instant,
    expires: Instant,
}

impl Tokens {
    pub(super) fn new(client: Client, account: ServiceAccount) -> Self {
        Self {
            api: Api::namespaced(client, &account.namespace),
            account,
            current: Mutex::default(),
        }
    }

    pub(super) async fn token(&self) -> Result<Token, String> {
        let mut current = self.current.lock().await;
        let now = Instant::now();
        if let Some(known) = current.as_ref().filter(|known| now < known.renew) {
            return Ok(known.token.clone());
        }
        match self.request().await {
            Ok(new) => Ok(current.insert(new).token.clone()),
            Err(reason) => match current.as_ref().filter(|known| now < known.expires) {
                Some(known) => Ok(known.token.clone()),
                None => Err(reason),
            },
        }
    }

    async fn request(&self) -> Result<Current, String> {
        let account = &self.account;
        let failed = |reason: String| {
            format!(
                "no token of ServiceAccount {account} for the agents: {reason} (it needs the role \
                 `serviceaccounts/token: create` on itself; outside a cluster `agentServiceAccount` names it)"
            )
        };
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: vec![AUDIENCE.to_owned()],
                expiration_seconds: Some(LIFETIME),
                bound_object_ref: None,
            },
            ..TokenRequest::default()
        };
        let params = PostParams::default();
        let asked = Instant::now();
        let answer = self
            .api
            .create_token_request(&account.name, &params, &request);
        let answer = patiently(answer).await.map_err(failed)?;
        let status = answer.status;
        let status = status.ok_or_else(|| failed("the answer holds none".to_owned()))?;
        let left = status
            .expiration_timestamp
            .0
            .duration_since(Timestamp::now());
        let left = Duration::try_from(left).unwrap_or_default();
        Ok(Current {
            token: Token::new(status.token),
            renew: asked + left - left / AHEAD,
            expires: asked + left,
        })
    }
}
