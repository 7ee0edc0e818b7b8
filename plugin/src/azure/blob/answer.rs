//! What an answer of Storage says that is no success.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;

use crate::azure::{
    answer::{causes, retry_after},
    failure::Failure,
};

/// Begins what is said when the time is why a signature is refused.
pub(super) const CLOCK: &str = "this node's clock";
/// Between a signature's time and Storage's.
const SIGNATURE: Duration = Duration::from_secs(15 * 60);

impl Failure {
    /// The same of Storage, which puts its code into a header and its words into XML. The signature that it may
    /// repeat there is not kept.
    pub(super) fn of_storage(status: u16, headers: &HeaderMap, body: &Bytes) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let reason = http::StatusCode::from_u16(status)
            .ok()
            .and_then(|status| status.canonical_reason())
            .unwrap_or("no words");
        let code = text("x-ms-error-code").map_or_else(|| reason.replace(' ', ""), str::to_owned);
        let body = String::from_utf8_lossy(body);
        let message = body
            .split_once("<Message>")
            .and_then(|(_, rest)| rest.split(['\n', '<']).next())
            .map_or(reason, str::trim);
        let skew = text("date").filter(|_| code == "AuthenticationFailed");
        Self::Http {
            status,
            code,
            message: skew.and_then(skew_of).unwrap_or_else(|| message.to_owned()),
            retry_after: retry_after(headers),
        }
    }

    /// What the wire told `object_store`, or what that made of an answer.
    pub(super) fn of_store(error: &object_store::Error) -> Self {
        let mut cause: Option<&dyn std::error::Error> = Some(error);
        while let Some(error) = cause {
            if let Some(failure) = error.downcast_ref::<Self>() {
                return failure.clone();
            }
            cause = error.source();
        }
        Self::Malformed(causes(error))
    }
}

/// How wrong our time is by an answer's `Date`, if that is why a signature is refused.
fn skew_of(date: &str) -> Option<String> {
    let theirs = jiff::fmt::rfc2822::parse(date).ok()?.timestamp();
    let ahead = jiff::Timestamp::now().duration_since(theirs);
    let way = if ahead.is_negative() {
        "behind"
    } else {
        "ahead of"
    };
    let skew = ahead.unsigned_abs();
    let minutes = skew.as_secs() / 60;
    (skew > SIGNATURE).then(|| format!("{CLOCK} is {minutes} minutes {way} Azure's"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn storage(date: jiff::Timestamp, body: &str) -> String {
        let mut headers = HeaderMap::new();
        let date = jiff::fmt::rfc2822::to_string(&date.to_zoned(jiff::tz::TimeZone::UTC)).unwrap();
        headers.insert("date", date.parse().unwrap());
        headers.insert("x-ms-error-code", "AuthenticationFailed".parse().unwrap());
        Failure::of_storage(403, &headers, &Bytes::from(body.to_owned())).to_string()
    }

    #[test]
    fn what_storage_says_is_one_line_without_the_signature() {
        let body = "<?xml version=\"1.0\"?><Error><Code>AuthenticationFailed</Code><Message>Server failed.\n\
                    RequestId:1\nTime:2</Message><AuthenticationErrorDetail>The MAC signature c2ln is not the \
                    same</AuthenticationErrorDetail></Error>";
        let now = jiff::Timestamp::now();
        assert_eq!(
            storage(now, body),
            "403 AuthenticationFailed: Server failed."
        );
        assert_eq!(storage(now, ""), "403 AuthenticationFailed: Forbidden");
        let answer = Failure::of_storage(502, &HeaderMap::new(), &Bytes::from("<html>\n</html>"));
        assert_eq!(answer.to_string(), "502 BadGateway: Bad Gateway");
    }

    #[test]
    fn a_clock_that_is_wrong_is_told() {
        // Half a minute more, since time passes meanwhile.
        let minutes = |count: i64| jiff::SignedDuration::from_secs(count * 60 + 30);
        let now = jiff::Timestamp::now();
        for (date, expected) in [
            (
                now + minutes(20),
                "this node's clock is 20 minutes behind Azure's",
            ),
            (
                now - minutes(21),
                "this node's clock is 21 minutes ahead of Azure's",
            ),
            (now + minutes(14), "Forbidden"),
        ] {
            let told = storage(date, "");
            let (_, message) = told.split_once(": ").unwrap();
            assert_eq!(message, expected);
        }
    }
}
