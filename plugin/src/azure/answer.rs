//! What an answer that is no success says.

use std::{error::Error, time::Duration};

use http::HeaderMap;
use serde::Deserialize;

/// All causes of an error, from the outside in.
pub(super) fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        // rustls ends some with an address of its documentation.
        let cause_text = cause_text.split(": https://").next().unwrap_or_default();
        if !text.contains(cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

/// Seconds or a date; the SDKs also know milliseconds.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let milliseconds = ["retry-after-ms", "x-ms-retry-after-ms"]
        .into_iter()
        .find_map(|name| text(name)?.trim().parse().ok())
        .map(Duration::from_millis);
    milliseconds.or_else(|| {
        let value = text("retry-after")?.trim();
        if let Ok(seconds) = value.parse() {
            return Some(Duration::from_secs(seconds));
        }
        let at = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
        Some(
            at.duration_since(jiff::Timestamp::now())
                .try_into()
                .unwrap_or_default(),
        )
    })
}

#[derive(Deserialize)]
struct Body {
    error: Option<Detail>,
    code: Option<String>,
    message: Option<String>,
}

#[derive(Deserialize)]
struct Detail {
    code: Option<String>,
    message: Option<String>,
    #[serde(default)]
    details: Option<Vec<Detail>>,
}

/// ARM's code and message; of anything else its beginning.
pub(super) fn code_and_message(body: &[u8]) -> (Option<String>, String) {
    let Ok(parsed) = serde_json::from_slice::<Body>(body) else {
        let text: String = String::from_utf8_lossy(body).chars().take(300).collect();
        let words: Vec<_> = text.split_whitespace().collect();
        return (None, words.join(" "));
    };
    let error = parsed.error.unwrap_or(Detail {
        code: parsed.code,
        message: parsed.message,
        details: None,
    });
    let mut message = error.message.unwrap_or_default();
    for detail in error.details.into_iter().flatten() {
        if let Some(more) = detail.message.filter(|more| !message.contains(more)) {
            message = format!("{message} {more}").trim().to_owned();
        }
    }
    (error.code, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_told_without_the_addresses_of_libraries_documentation() {
        let eof = std::io::Error::other("peer closed connection: https://docs.rs/rustls/x");
        let error = std::io::Error::other(Layer(eof));
        assert_eq!(causes(&error), "outer: peer closed connection");
    }

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Layer(#[source] std::io::Error);

    #[test]
    fn retry_after_is_read_in_every_form() {
        let read = |name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, http::HeaderValue::from_static(value));
            retry_after(&headers)
        };
        assert_eq!(read("retry-after", "7"), Some(Duration::from_secs(7)));
        assert_eq!(
            read("x-ms-retry-after-ms", "70"),
            Some(Duration::from_millis(70))
        );
        assert_eq!(
            read("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT"),
            Some(Duration::ZERO)
        );
        assert_eq!(read("retry-after", "soon"), None);
    }

    #[test]
    fn details_of_an_error_are_not_lost() {
        let body = r#"{"error":{"code":"A","message":"m","details":[{"message":"why"}]}}"#;
        assert_eq!(
            code_and_message(body.as_bytes()),
            (Some("A".to_owned()), "m why".to_owned())
        );
        assert_eq!(code_and_message(b"<html>\n\n x").1, "<html> x");
    }
}
