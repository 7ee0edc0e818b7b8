//! The key that Azure lends an identity of Entra, to sign URLs with for as long as the key lives.
//!
//! <https://learn.microsoft.com/rest/api/storageservices/get-user-delegation-key>

use std::sync::Arc;

use aws_lc_rs::hmac;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::Method;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Mutex;

use super::{ask::ask, sas::time, wire::Wire, xml};
use crate::azure::failure::Failure;

/// The longest that Azure lends a key, from its start to its end.
pub(super) const LONGEST: SignedDuration = SignedDuration::from_hours(7 * 24);
/// How much longer than asked for it is lent, for the URLs that follow.
const AHEAD: SignedDuration = SignedDuration::from_hours(1);

/// The key of the account's identity.
#[derive(Default)]
pub(super) struct Delegation(Mutex<Option<Arc<DelegationKey>>>);

impl Delegation {
    /// A key that is good from `start` to `end`.
    pub(super) async fn key(
        &self,
        wire: &Wire,
        start: Timestamp,
        end: Timestamp,
    ) -> Result<Arc<DelegationKey>, Failure> {
        let mut known = self.0.lock().await;
        if let Some(key) = known.as_ref().filter(|key| key.covers(start, end)) {
            return Ok(Arc::clone(key));
        }
        let lent = Arc::new(DelegationKey::lend(wire, start, end).await?);
        *known = Some(Arc::clone(&lent));
        Ok(lent)
    }

    /// Storage refused what it signed.
    pub(super) async fn forget(&self) {
        *self.0.lock().await = None;
    }
}

/// A key that Azure lends. Not `Debug`: it is a secret.
pub(super) struct DelegationKey {
    hmac: hmac::Key,
    object: String,
    tenant: String,
    start: String,
    expiry: String,
    service: String,
    version: String,
    life: (Timestamp, Timestamp),
}

impl DelegationKey {
    async fn lend(wire: &Wire, start: Timestamp, end: Timestamp) -> Result<Self, Failure> {
        let end = (end + AHEAD).min(start + LONGEST);
        let url = format!("{}?restype=service&comp=userdelegationkey", wire.url(""));
        let body = format!(
            r#"<?xml version="1.0" encoding="utf-8"?><KeyInfo><Start>{}</Start><Expiry>{}</Expiry></KeyInfo>"#,
            time(start),
            time(end)
        );
        let answer = ask(wire, Method::POST, &url, Bytes::from(body)).await?;
        Self::parse(&answer)
    }

    /// From Azure's answer.
    pub(super) fn parse(answer: &[u8]) -> Result<Self, Failure> {
        let [
            mut object,
            mut tenant,
            mut start,
            mut expiry,
            mut service,
            mut version,
            mut value,
        ] = [const { String::new() }; 7];
        xml::read(answer, |path, text| {
            let field = match path {
                "UserDelegationKey/SignedOid" => &mut object,
                "UserDelegationKey/SignedTid" => &mut tenant,
                "UserDelegationKey/SignedStart" => &mut start,
                "UserDelegationKey/SignedExpiry" => &mut expiry,
                "UserDelegationKey/SignedService" => &mut service,
                "UserDelegationKey/SignedVersion" => &mut version,
                "UserDelegationKey/Value" => &mut value,
                _ => return,
            };
            text.clone_into(field);
        })?;
        let unusable = |what: &str| {
            Failure::Malformed(format!("a user delegation key whose {what} is not usable"))
        };
        let secret = BASE64_STANDARD.decode(&value).unwrap_or_default();
        if secret.is_empty() {
            return Err(unusable("Value"));
        }
        let from = start.parse().map_err(|_| unusable("SignedStart"))?;
        let to = expiry.parse().map_err(|_| unusable("SignedExpiry"))?;
        Ok(Self {
            hmac: hmac::Key::new(hmac::HMAC_SHA256, &secret),
            object,
            tenant,
            start,
            expiry,
            service,
            version,
            life: (from, to),
        })
    }

    fn covers(&self, start: Timestamp, end: Timestamp) -> bool {
        self.life.0 <= start && end <= self.life.1
    }

    /// What a URL tells of it, in the order in which that is signed.
    pub(super) fn fields(&self) -> [(&'static str, &str); 6] {
        [
            ("skoid", &self.object),
            ("sktid", &self.tenant),
            ("skt", &self.start),
            ("ske", &self.expiry),
            ("sks", &self.service),
            ("skv", &self.version),
        ]
    }

    /// The signature of `text`, base64.
    pub(super) fn sign(&self, text: &str) -> String {
        BASE64_STANDARD.encode(hmac::sign(&self.hmac, text.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(value: &str, expiry: &str) -> String {
        format!(
            "<UserDelegationKey><SignedStart>2026-11-23T13:50:00Z</SignedStart>\
             <SignedExpiry>{expiry}</SignedExpiry><Value>{value}</Value></UserDelegationKey>"
        )
    }

    #[test]
    fn key_covers_what_lies_within_its_life() {
        let key = answer("c2VjcmV0", "2026-11-23T15:00:00.0000000Z");
        let key = DelegationKey::parse(key.as_bytes()).unwrap();
        for (start, end, covered) in [
            ("13:50:00", "15:00:00", true),
            ("14:00:00", "14:10:00", true),
            ("13:49:59", "14:10:00", false),
            ("14:00:00", "15:00:01", false),
        ] {
            let at = |time| format!("2026-11-23T{time}Z").parse().unwrap();
            assert_eq!(key.covers(at(start), at(end)), covered, "{start}..{end}");
        }
    }

    #[test]
    fn answer_that_is_no_key_is_an_error_that_does_not_show_it() {
        for answer in [
            answer("", "2026-11-23T15:00:00Z"),
            answer("*secret*", "2026-11-23T15:00:00Z"),
            answer("c2VjcmV0", "tomorrow"),
        ] {
            let error = DelegationKey::parse(answer.as_bytes()).err().unwrap();
            let text = error.to_string();
            assert!(text.contains("is not usable"), "{text}");
            assert!(
                !text.contains("secret") && !text.contains("c2VjcmV0"),
                "{text}"
            );
        }
        let error = DelegationKey::parse(b"<Value>c2VjcmV0</Val>")
            .err()
            .unwrap();
        assert!(!error.to_string().contains("c2VjcmV0"), "{error}");
    }
}
