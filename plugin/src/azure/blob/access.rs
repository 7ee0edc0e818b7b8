//! With which key or token a storage account is asked.

use std::sync::Arc;

use object_store::azure::AzureCredential;

use super::account_key::AccountKey;

/// See the module.
pub(super) enum Access {
    Key(Arc<AccountKey>),
    Token(AzureCredential),
}

impl Access {
    /// The account's key, where that is what we have.
    pub(super) fn key(&self) -> Option<Arc<AccountKey>> {
        match self {
            Self::Key(key) => Some(Arc::clone(key)),
            Self::Token(_) => None,
        }
    }

    /// What to authorise the next request with.
    pub(super) fn credential(&self) -> &AzureCredential {
        match self {
            Self::Key(key) => key.for_requests(),
            Self::Token(token) => token,
        }
    }
}
