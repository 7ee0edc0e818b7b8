//! How long the API server waits: it says so in the URL, `?timeout=10s`.

use std::time::Duration;

use super::refusal::Refusal;
use crate::config::duration;

/// Kubernetes' own default of `timeoutSeconds`.
const DEFAULT: Duration = Duration::from_secs(10);
/// Kubernetes' own limits of it.
const LEAST: Duration = Duration::from_secs(1);
const MOST: Duration = Duration::from_secs(30);

/// The patience in a URL's query.
pub(super) fn of(query: Option<&str>) -> Result<Duration, Refusal> {
    let pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    // A proxy in between may add to what is there.
    let Some((_, text)) = pairs.filter(|(key, _)| key == "timeout").last() else {
        return Ok(DEFAULT);
    };
    let parsed = duration::parse(&text).filter(|timeout| (LEAST..=MOST).contains(timeout));
    parsed.ok_or_else(|| Refusal::Timeout(text.into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_go_writes_them() {
        for (query, seconds) in [
            (None, Some(10)),
            (Some(""), Some(10)),
            (Some("dryRun=All"), Some(10)),
            (Some("timeout=3s"), Some(3)),
            (Some("a=b&timeout=30s"), Some(30)),
            (Some("timeout=1s&timeout=5s"), Some(5)),
            (Some("timeout=0s"), None),
            (Some("timeout=31s"), None),
            (Some("timeout=1m0s"), None),
            (Some("timeout=soon"), None),
            (Some("timeout="), None),
        ] {
            let seen = of(query).ok().map(|timeout| timeout.as_secs());
            assert_eq!(seen, seconds, "{query:?}");
        }
    }
}
