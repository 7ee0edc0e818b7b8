//! Values of the command line, each from its text.

use std::time::Duration;

use crate::{
    config::{ServiceAccount, duration},
    model::Sku,
    tags,
};

pub(super) fn account(text: &str) -> Result<ServiceAccount, String> {
    text.split_once('/')
        .and_then(|(namespace, name)| ServiceAccount::new(namespace, name))
        .ok_or_else(|| "expected NAMESPACE/NAME of a service account".to_owned())
}

pub(super) fn freeze_timeout(text: &str) -> Result<Duration, String> {
    let allowed = Duration::from_secs(1)..=Duration::from_secs(60);
    let limit = duration::parse(text).filter(|limit| allowed.contains(limit));
    limit.ok_or_else(|| "expected a duration from 1s to 60s".to_owned())
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    duration::parse(text).ok_or_else(|| "expected a duration, such as 90s or 2m".to_owned())
}

/// Days and weeks too, which Go's durations lack.
pub(super) fn age(text: &str) -> Result<Duration, String> {
    const DAY: u64 = 24 * 60 * 60;
    let days = |number: &str, days: u64| {
        let seconds = number.parse::<u64>().ok()?.checked_mul(days * DAY)?;
        Some(Duration::from_secs(seconds))
    };
    let age = match (text.strip_suffix('d'), text.strip_suffix('w')) {
        (Some(number), _) => days(number, 1),
        (_, Some(number)) => days(number, 7),
        (None, None) => duration::parse(text),
    };
    age.ok_or_else(|| "expected an age, such as 12h, 30d or 4w".to_owned())
}

pub(super) fn tag(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    tags::check(key, value).map_err(|allowed| format!("expected {allowed}"))?;
    Ok((key.to_owned(), value.to_owned()))
}

#[allow(clippy::unnecessary_wraps, reason = "a parser of clap's")]
pub(super) fn sku(text: &str) -> Result<Sku, String> {
    Ok(Sku::new(text))
}

/// How long ago, as kubectl says it.
pub(super) fn ago(age: Duration) -> String {
    let seconds = age.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..10_800 => format!("{minutes}m"),
        10_800..172_800 => format!("{hours}h"),
        _ => format!("{days}d"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_read_and_said() {
        for (text, seconds, said) in [
            ("90s", 90, "90s"),
            ("2m", 120, "2m"),
            ("12h", 43_200, "12h"),
            ("30d", 2_592_000, "30d"),
            ("4w", 2_419_200, "28d"),
        ] {
            let age = age(text).unwrap();
            assert_eq!((age.as_secs(), ago(age).as_str()), (seconds, said));
        }
        for text in ["", "d", "x", "-1d", "99999999999999999999d"] {
            assert!(age(text).is_err(), "{text}");
        }
    }

    #[test]
    fn tags_are_checked_as_azure_does() {
        assert_eq!(tag("a=b=c"), Ok(("a".into(), "b=c".into())));
        for text in ["a", "=b", "stillpoint-hold=x", "a/b=c", "azure=x"] {
            assert!(tag(text).is_err(), "{text}");
        }
    }
}
