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
use object_store::azure::{AzureAccessKey, AzureCredential};
use tokio::time::Instant;

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
    /// `None`: Entra. Never to be shown: its `Debug` shows the key.
    key: Mutex<Option<Arc<AzureCredential>>>,
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

/// From base64, as Azure shows keys.
pub(super) fn parse_key(base64: &str) -> Option<AzureCredential> {
    let key = AzureAccessKey::try_new(base64.trim()).ok()?;
    Some(AzureCredential::AccessKey(key))
}

impl NamedKey {
    /// The key that it holds now, and where it was read.
    pub(super) fn read(
        &self,
        process: ProcessVariable<'_>,
    ) -> Result<(AzureCredential, String), ConnectError> {
        let variables = Variables::load(self.credentials_file.as_deref(), process)?;
        let wrong = |why| ConnectError::Key {
            name: self.variable.clone(),
            why,
            origin: variables.origin.to_string(),
        };
        let text = variables
            .named(&self.variable, process)
            .ok_or_else(|| wrong("is set neither there nor in the process environment"))?;
        let key = parse_key(&text).ok_or_else(|| {
            wrong("holds no account key: expected base64, as Azure shows the key")
        })?;
        Ok((key, variables.origin.to_string()))
    }
}

impl Access {
    pub(super) fn new(source: Source, key: Option<AzureCredential>) -> Self {
        Self {
            source,
            key: Mutex::new(key.map(Arc::new)),
            renewal: tokio::sync::Mutex::default(),
        }
    }

    fn key(&self) -> Option<Arc<AzureCredential>> {
        lock(&self.key).clone()
    }

    fn tokens(&self) -> Option<&Arc<Tokens>> {
        match &self.source {
            Source::Listed(_, tokens) | Source::Entra(tokens) => Some(tokens),
            Source::Named(_) => None,
        }
    }

    /// What to authorise the next request with; logs in if there is no token.
    pub(super) async fn credential(
        &self,
        deadline: Instant,
    ) -> Result<Arc<AzureCredential>, Failure> {
        if let Some(key) = self.key() {
            return Ok(key);
        }
        let missing = || Failure::Login("there is neither a key nor a token".to_owned());
        let tokens = self.tokens().ok_or_else(missing)?;
        tokens.ensure(deadline).await?;
        let token = tokens.at_hand().ok_or_else(missing)?;
        Ok(Arc::new(AzureCredential::BearerToken(
            token.secret().to_owned(),
        )))
    }

    /// Whether there is another credential now than `used`, which a request of `sent` was refused with.
    pub(super) async fn renew(
        &self,
        used: &Arc<AzureCredential>,
        failure: &Failure,
        sent: Instant,
    ) -> bool {
        match used.as_ref() {
            AzureCredential::BearerToken(token)
                if failure.status() == Some(401) || failure.is_code("AuthenticationFailed") =>
            {
                if let Some(tokens) = self.tokens() {
                    tokens.reject(&Secret::new(token.clone()));
                }
                true
            }
            AzureCredential::AccessKey(_)
                if failure.is_code("KeyBasedAuthenticationNotPermitted") =>
            {
                self.leave(used, "the account does not allow its keys")
            }
            AzureCredential::AccessKey(_) if is_unauthenticated(failure) => {
                self.another_key(used, sent).await
            }
            AzureCredential::AccessKey(_)
            | AzureCredential::BearerToken(_)
            | AzureCredential::SASToken(_) => false,
        }
    }

    /// Of blocks that fail together the first looks, the others learn what it found.
    async fn another_key(&self, used: &Arc<AzureCredential>, sent: Instant) -> bool {
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
                Ok(Listed::Key { name, value }) => parse_key(value.secret())
                    .is_some_and(|key| self.replace(used, key, &format!("{name}, listed again"))),
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

    fn replace(&self, used: &AzureCredential, key: AzureCredential, origin: &str) -> bool {
        let another = key != *used;
        if another {
            tracing::info!(%origin, "the account's key was replaced by another");
            *lock(&self.key) = Some(Arc::new(key));
        }
        another
    }

    /// Goes over to Entra for good, where the key was not the location's own choice.
    fn leave(&self, used: &Arc<AzureCredential>, why: &str) -> bool {
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

/// The signature was refused, not what it is allowed to. Azurite calls that `AuthorizationFailure`, as Azure calls
/// a firewall's refusal; only words tell them apart, and an answer to HEAD has none.
fn is_unauthenticated(failure: &Failure) -> bool {
    let Failure::Http {
        status: 403,
        code,
        message,
        ..
    } = failure
    else {
        return false;
    };
    match code.as_str() {
        "AuthenticationFailed" => true,
        "AuthorizationFailure" => {
            message == "Forbidden" || message.starts_with("Server failed to authenticate")
        }
        _ => false,
    }
}
