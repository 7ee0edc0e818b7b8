//! With which key or token a storage account is asked.
//!
//! ```text
//!   named key ──403──► read again from the credentials file
//!   listed key ──403──► listed again
//!       └──keys are not allowed, or cannot be listed any more──► Entra ──401──► logged in again
//! ```

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
};

use azure_core::credentials::Secret;
use tokio::time::Instant;

use super::account_key::AccountKey;
use crate::azure::{
    ConnectError,
    failure::Failure,
    storage_account::{Listed, StorageAccount},
    tokens::Tokens,
    transport::lock,
    variables::{ProcessVariable, Variables},
};

/// See the module.
pub(super) struct Access {
    source: Source,
    /// `None`: Entra.
    key: Mutex<Option<Arc<AccountKey>>>,
    /// When the last look for another key began.
    renewal: tokio::sync::Mutex<Option<Instant>>,
}

/// Where another key or token comes from.
pub(super) enum Source {
    /// The location names a variable that holds a key.
    Named(NamedKey),
    /// The resource manager lists the account's keys.
    Listed(Box<StorageAccount>, Arc<Tokens>),
    /// Only Entra.
    Entra(Arc<Tokens>),
}

/// A variable that holds a key.
pub(super) struct NamedKey {
    pub(super) variable: String,
    pub(super) credentials_file: Option<PathBuf>,
}

/// What one request is authorised with.
pub(super) enum Credential {
    Key(Arc<AccountKey>),
    Token(Secret),
}

impl NamedKey {
    /// The key that it holds now, and where it was read.
    pub(super) fn read(
        &self,
        process: ProcessVariable<'_>,
    ) -> Result<(AccountKey, String), ConnectError> {
        let variables = Variables::load(self.credentials_file.as_deref(), process)?;
        let wrong = |why| ConnectError::Key {
            name: self.variable.clone(),
            why,
            origin: variables.origin.to_string(),
        };
        let text = variables
            .named(&self.variable, process)
            .ok_or_else(|| wrong("is set neither there nor in the process environment"))?;
        let key = AccountKey::parse(&text)
            .map_err(|_| wrong("holds no account key: expected base64, as Azure shows the key"))?;
        Ok((key, variables.origin.to_string()))
    }
}

impl Access {
    pub(super) fn new(source: Source, key: Option<AccountKey>) -> Self {
        Self {
            source,
            key: Mutex::new(key.map(Arc::new)),
            renewal: tokio::sync::Mutex::default(),
        }
    }

    /// The account's key, where that is what we have.
    pub(super) fn key(&self) -> Option<Arc<AccountKey>> {
        lock(&self.key).clone()
    }

    /// What to authorise the next request with; logs in if there is no token.
    pub(super) async fn credential(&self, deadline: Instant) -> Result<Credential, Failure> {
        if let Some(key) = self.key() {
            return Ok(Credential::Key(key));
        }
        let tokens = match &self.source {
            Source::Listed(_, tokens) | Source::Entra(tokens) => tokens,
            Source::Named(_) => return Err(Failure::Login("the key is gone".to_owned())),
        };
        tokens.ensure(deadline).await?;
        let token = tokens.at_hand().map(Credential::Token);
        token.ok_or_else(|| Failure::Login("the token for Azure has expired".to_owned()))
    }

    /// Whether there is another credential now than `used`, which a request of `sent` was refused with.
    pub(super) async fn renew(&self, used: &Credential, failure: &Failure, sent: Instant) -> bool {
        match used {
            Credential::Token(secret) if failure.status() == Some(401) => {
                if let Source::Listed(_, tokens) | Source::Entra(tokens) = &self.source {
                    tokens.reject(secret);
                }
                true
            }
            Credential::Key(used) if failure.is_code("KeyBasedAuthenticationNotPermitted") => {
                self.leave(used, "the account does not allow its keys")
            }
            Credential::Key(used) if is_unauthenticated(failure) => {
                self.another_key(used, sent).await
            }
            Credential::Key(_) | Credential::Token(_) => false,
        }
    }

    /// Of blocks that fail together the first looks, the others learn what it found.
    async fn another_key(&self, used: &Arc<AccountKey>, sent: Instant) -> bool {
        let mut last = self.renewal.lock().await;
        if self.key().is_none_or(|key| key != *used) {
            return true;
        }
        if last.is_some_and(|begun| begun >= sent) {
            return false;
        }
        let begun = Instant::now();
        let found = match &self.source {
            Source::Entra(_) => false,
            Source::Named(named) => match named.read(&|name| std::env::var(name).ok()) {
                Ok((key, origin)) => self.replace(used, key, &origin),
                Err(error) => {
                    tracing::warn!(%error, "the account's key was refused and cannot be read again");
                    false
                }
            },
            Source::Listed(account, _) => match account.full_key().await {
                Ok(Listed::Key { name, value }) => AccountKey::parse(value.secret())
                    .is_ok_and(|key| self.replace(used, key, &format!("{name}, listed again"))),
                Ok(Listed::None(why)) => self.leave(used, &why),
                Err(error) => {
                    tracing::warn!(%error, "the account's key was refused and cannot be listed again");
                    false
                }
            },
        };
        *last = Some(begun);
        found
    }

    fn replace(&self, used: &AccountKey, key: AccountKey, origin: &str) -> bool {
        let another = key != *used;
        if another {
            tracing::info!(%origin, "the account's key was replaced by another");
            *lock(&self.key) = Some(Arc::new(key));
        }
        another
    }

    /// Goes over to Entra for good, where the key was not the location's own choice.
    fn leave(&self, used: &Arc<AccountKey>, why: &str) -> bool {
        let Source::Listed(account, tokens) = &self.source else {
            return false;
        };
        let mut key = lock(&self.key);
        if key.as_ref() == Some(used) {
            *key = None;
            tracing::info!(%account, identity = %tokens.identity(), why, "Entra instead of the account's key");
        }
        true
    }
}

/// The signature was refused, not what it is allowed to.
fn is_unauthenticated(failure: &Failure) -> bool {
    let said = "Server failed to authenticate the request";
    failure.is_code("AuthenticationFailed")
        || matches!(failure, Failure::Http { status: 403, message, .. } if message.starts_with(said))
}
