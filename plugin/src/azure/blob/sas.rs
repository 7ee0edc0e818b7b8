//! What a signed URL for reading one blob says, and the text of it that is signed: a service SAS by the account's key,
//! a user delegation SAS by a delegation key, both as of version 2020-12-06 and later.
//!
//! <https://learn.microsoft.com/rest/api/storageservices/create-service-sas>
//! <https://learn.microsoft.com/rest/api/storageservices/create-user-delegation-sas>

use jiff::Timestamp;

use super::{ask::in_query, delegation::DelegationKey};

/// The stock plugin's. From 2025-07-05 on, two more fields of a user delegation SAS are signed.
const VERSION: &str = "2025-05-05";
const READ: &str = "r";
const BLOB: &str = "b";

/// Leave to read one blob for some time.
pub(super) struct Sas {
    resource: String,
    start: String,
    expiry: String,
    protocol: &'static str,
}

impl Sas {
    pub(super) fn new(
        (account, container, key): (&str, &str, &str),
        (start, expiry): (Timestamp, Timestamp),
        https: bool,
    ) -> Self {
        // Azure has no backslashes in names: they become slashes before the signature is checked.
        let key = key.replace('\\', "/");
        Self {
            resource: format!("/blob/{account}/{container}/{key}"),
            start: time(start),
            expiry: time(expiry),
            protocol: if https { "https" } else { "https,http" },
        }
    }

    /// What is signed: by `key`, or by the account's.
    pub(super) fn text(&self, key: Option<&DelegationKey>) -> String {
        let mut fields = vec![READ, &self.start, &self.expiry, &self.resource];
        match key {
            // No stored policy.
            None => fields.push(""),
            Some(key) => {
                fields.extend(key.fields().map(|(_, value)| value));
                // No other identity is authorised, nor correlated.
                fields.extend([""; 3]);
            }
        }
        // Any address.
        fields.extend(["", self.protocol, VERSION, BLOB]);
        // No snapshot, no encryption scope, no headers of the answer's.
        fields.extend([""; 7]);
        fields.join("\n")
    }

    /// The URL's query.
    pub(super) fn query(&self, key: Option<&DelegationKey>, signature: &str) -> String {
        let own = [
            ("sv", VERSION),
            ("spr", self.protocol),
            ("st", &self.start),
            ("se", &self.expiry),
            ("sr", BLOB),
            ("sp", READ),
        ];
        let of_key = key.map(DelegationKey::fields).into_iter().flatten();
        let pairs: Vec<_> = own
            .into_iter()
            .chain(of_key)
            .chain([("sig", signature)])
            .map(|(name, value)| format!("{name}={}", in_query(value)))
            .collect();
        pairs.join("&")
    }
}

/// A time as Storage writes it, in whole seconds.
pub(super) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use object_store::azure::{AzureAccessKey, AzureCredential};

    use super::{super::account_key, *};

    const ACCOUNT: &str = "devstoreaccount1";
    /// The emulator's, which Microsoft has published.
    const ACCOUNT_KEY: &str =
        "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
    const LENT: &str = "<UserDelegationKey>\
        <SignedOid>11111111-1111-1111-1111-111111111111</SignedOid>\
        <SignedTid>22222222-2222-2222-2222-222222222222</SignedTid>\
        <SignedStart>2026-11-23T13:50:00Z</SignedStart>\
        <SignedExpiry>2026-11-23T15:10:00Z</SignedExpiry>\
        <SignedService>b</SignedService>\
        <SignedVersion>2023-11-03</SignedVersion>\
        <Value>c2VjcmV0IG9mIGEgZGVsZWdhdGlvbiBrZXk=</Value></UserDelegationKey>";

    fn sas(key: &str, https: bool) -> Sas {
        let time = |text: &str| text.parse().unwrap();
        let life = (
            time("2026-11-23T13:50:00.9Z"),
            time("2026-11-23T14:10:00.9Z"),
        );
        Sas::new((ACCOUNT, "velero", key), life, https)
    }

    #[test]
    fn service_sas_is_signed_as_the_go_sdk_does() {
        let sas = sas("backups/a b/ä+%#?//.gz", true);
        let key = AzureCredential::AccessKey(AzureAccessKey::try_new(ACCOUNT_KEY).unwrap());
        let signature = account_key::sign(&key, &sas.text(None)).unwrap();
        assert_eq!(signature, "SI9NH+vEFxUnPxsDUGHjNyD9uprIzLPfuQl+s4uqrv0=");
        assert_eq!(
            sas.query(None, &signature),
            "sv=2025%2D05%2D05&spr=https&st=2026%2D11%2D23T13%3A50%3A00Z&se=2026%2D11%2D23T14%3A10%3A00Z\
             &sr=b&sp=r&sig=SI9NH%2BvEFxUnPxsDUGHjNyD9uprIzLPfuQl%2Bs4uqrv0%3D"
        );
    }

    #[test]
    fn user_delegation_sas_is_signed_as_azurite_does() {
        let sas = sas("backups/a b/ä+%#?//.gz", true);
        let key = DelegationKey::parse(LENT.as_bytes()).unwrap();
        let signature = key.sign(&sas.text(Some(&key)));
        assert_eq!(signature, "n7wTE0BkijmUhV3ca9ZbhYaSc/sY9f+GT/v+Vc7NxtM=");
        let query = sas.query(Some(&key), &signature);
        let of_key = "&sp=r&skoid=11111111%2D1111%2D1111%2D1111%2D111111111111\
            &sktid=22222222%2D2222%2D2222%2D2222%2D222222222222&skt=2026%2D11%2D23T13%3A50%3A00Z\
            &ske=2026%2D11%2D23T15%3A10%3A00Z&sks=b&skv=2023%2D11%2D03&sig=";
        assert!(query.contains(of_key), "{query}");
    }

    #[test]
    fn plain_http_is_allowed_only_where_the_endpoint_is_plain() {
        assert_eq!(sas("k", true).protocol, "https");
        assert_eq!(sas("k", false).protocol, "https,http");
    }

    #[test]
    fn backslash_is_signed_as_the_slash_that_azure_makes_of_it() {
        assert_eq!(
            sas("a\\b", true).resource,
            "/blob/devstoreaccount1/velero/a/b"
        );
    }
}
