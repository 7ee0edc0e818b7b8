//! A key of a storage account.

use std::fmt;

use aws_lc_rs::hmac;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use object_store::azure::{AzureAccessKey, AzureCredential};

/// The key. Its `Debug` does not show it.
pub(super) struct AccountKey {
    hmac: hmac::Key,
    for_requests: AzureCredential,
    base64: String,
}

/// Not the key of an account; which text it was is not said.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoKey;

impl AccountKey {
    /// From base64, as Azure shows keys.
    pub(super) fn parse(base64: &str) -> Result<Self, NoKey> {
        let base64 = base64.trim();
        let bytes = BASE64_STANDARD.decode(base64).map_err(|_| NoKey)?;
        if bytes.is_empty() {
            return Err(NoKey);
        }
        let for_requests = AzureAccessKey::try_new(base64).map_err(|_| NoKey)?;
        Ok(Self {
            hmac: hmac::Key::new(hmac::HMAC_SHA256, &bytes),
            for_requests: AzureCredential::AccessKey(for_requests),
            base64: base64.to_owned(),
        })
    }

    /// The signature of `text`, base64.
    pub(super) fn sign(&self, text: &str) -> String {
        BASE64_STANDARD.encode(hmac::sign(&self.hmac, text.as_bytes()))
    }

    pub(super) fn for_requests(&self) -> &AzureCredential {
        &self.for_requests
    }
}

impl PartialEq for AccountKey {
    fn eq(&self, other: &Self) -> bool {
        self.base64 == other.base64
    }
}

impl fmt::Debug for AccountKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccountKey(…)")
    }
}
