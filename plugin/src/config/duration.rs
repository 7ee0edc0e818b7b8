//! Durations as Go writes them: `1m30s`, `1.5h`, `300ms`.

use std::time::Duration;

const UNITS: [(&str, f64); 8] = [
    // Longest spelling first: `ms` is not `m` and an `s`.
    ("ns", 1e-9),
    ("us", 1e-6),
    ("µs", 1e-6),
    ("μs", 1e-6),
    ("ms", 1e-3),
    ("s", 1.0),
    ("m", 60.0),
    ("h", 3600.0),
];

/// What Go's `time.ParseDuration` makes of the text, if it is not negative; `None` otherwise.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .filter(|end| *end > 0)?;
        let (number, after) = rest.split_at(digits);
        let (unit, seconds) = UNITS.iter().find(|(unit, _)| after.starts_with(unit))?;
        total = total.checked_add(scaled(number, *seconds)?)?;
        rest = after.get(unit.len()..)?;
    }
    Some(total)
}

/// Whole numbers exactly, fractions to the nanosecond.
fn scaled(number: &str, seconds: f64) -> Option<Duration> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole: u64 = if whole.is_empty() && !fraction.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let unit = Duration::try_from_secs_f64(seconds).ok()?;
    let exact = Duration::from_nanos(u64::try_from(unit.as_nanos()).ok()?.checked_mul(whole)?);
    if fraction.is_empty() {
        return Some(exact);
    }
    let part: f64 = format!("0.{fraction}").parse().ok()?;
    exact.checked_add(Duration::try_from_secs_f64(part * seconds).ok()?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn go_durations_are_read() {
        for (text, expected) in [
            ("0", Some(Duration::ZERO)),
            ("10s", Some(Duration::from_secs(10))),
            ("1m30s", Some(Duration::from_secs(90))),
            ("2m0s", Some(Duration::from_secs(120))),
            ("1.5h", Some(Duration::from_secs(5400))),
            (".5s", Some(Duration::from_millis(500))),
            ("1500ms", Some(Duration::from_millis(1500))),
            ("+3us", Some(Duration::from_micros(3))),
            ("3µs", Some(Duration::from_micros(3))),
            ("", None),
            ("+", None),
            ("10", None),
            ("s", None),
            (".s", None),
            ("-1s", None),
            ("1.2.3s", None),
            ("1 m", None),
            ("1d", None),
            ("99999999999999999999h", None),
            ("9999999999999h", None),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn whole_units_round_trip(h in 0u64..1000, m in 0u64..60, s in 0u64..60, ms in 0u64..1000) {
            let expected = Duration::from_millis(((h * 60 + m) * 60 + s) * 1000 + ms);
            prop_assert_eq!(parse(&format!("{h}h{m}m{s}s{ms}ms")), Some(expected));
        }

        #[test]
        fn nothing_makes_it_panic(text in "\\PC*") {
            let _ = parse(&text);
        }
    }
}
