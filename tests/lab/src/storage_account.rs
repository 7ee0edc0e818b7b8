//! Storage accounts: where their data is and by which keys it is reached. The data itself is elsewhere.

use std::{collections::BTreeMap, fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

use crate::{Moment, ResourceId};

/// Bytes of a key.
const LENGTH: usize = 64;

/// The key of a storage account: base64 of 64 bytes. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AccountKey(String);

impl AccountKey {
    /// A new one.
    pub fn random() -> Self {
        Self(STANDARD.encode(rand::random::<[u8; LENGTH]>()))
    }

    /// The base64.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for AccountKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccountKey(…)")
    }
}

/// Not the key of a storage account; the text is a secret all the same and not part of this.
#[derive(Debug, thiserror::Error)]
#[error("this is {0}; expected a storage account's key, base64 of 64 bytes")]
pub struct ParseAccountKeyError(String);

impl TryFrom<String> for AccountKey {
    type Error = ParseAccountKeyError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match STANDARD.decode(&text) {
            Ok(bytes) if bytes.len() == LENGTH => Ok(Self(text)),
            Ok(bytes) => Err(ParseAccountKeyError(format!(
                "base64 of {} bytes",
                bytes.len()
            ))),
            Err(_) => Err(ParseAccountKeyError("not base64".into())),
        }
    }
}

impl FromStr for AccountKey {
    type Err = ParseAccountKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.to_owned().try_into()
    }
}

impl From<AccountKey> for String {
    fn from(key: AccountKey) -> Self {
        key.0
    }
}

/// Which key: `key1` and `key2` always exist, `kerb1` and `kerb2` (for file shares) once they were generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub enum KeyName {
    Key1,
    Key2,
    Kerb1,
    Kerb2,
}

impl KeyName {
    /// As Azure writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Key1 => "key1",
            Self::Key2 => "key2",
            Self::Kerb1 => "kerb1",
            Self::Kerb2 => "kerb2",
        }
    }

    /// Whether it is listed only to who expands `kerb`.
    pub(crate) fn kerberos(self) -> bool {
        matches!(self, Self::Kerb1 | Self::Kerb2)
    }
}

/// An account.
#[derive(Clone, Debug)]
pub(crate) struct StorageAccount {
    pub(crate) id: ResourceId,
    pub(crate) location: String,
    pub(crate) sku: String,
    /// With a slash at its end.
    pub(crate) blob_endpoint: String,
    /// None if nobody ever set it, which allows.
    pub(crate) allow_shared_key_access: Option<bool>,
    pub(crate) created: Moment,
    pub(crate) keys: BTreeMap<KeyName, (AccountKey, Moment)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_base64_of_64_bytes_is_a_key() {
        let key = AccountKey::random();
        assert_eq!(key.as_str().parse::<AccountKey>().unwrap(), key);
        assert!(!format!("{key:?}").contains(key.as_str()));
        for (text, said) in [("c2hvcnQ=", "5 bytes"), ("no base64!", "not base64")] {
            let error = text.parse::<AccountKey>().unwrap_err().to_string();
            assert!(error.contains(said) && !error.contains(text), "{error}");
        }
    }
}
