//! Path patterns of faults and denied actions: `*` is any part of one segment, `**` anything,
//! letter case does not count.

/// Whether all of `text` matches `pattern`.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    inner(
        pattern.to_ascii_lowercase().as_bytes(),
        text.to_ascii_lowercase().as_bytes(),
    )
}

fn inner(pattern: &[u8], text: &[u8]) -> bool {
    match pattern {
        [] => text.is_empty(),
        [b'*', b'*', rest @ ..] => (0..=text.len()).any(|skip| inner(rest, &text[skip..])),
        [b'*', rest @ ..] => {
            let segment = text
                .iter()
                .position(|byte| *byte == b'/')
                .unwrap_or(text.len());
            (0..=segment).any(|skip| inner(rest, &text[skip..]))
        }
        [first, rest @ ..] => text
            .split_first()
            .is_some_and(|(byte, tail)| byte == first && inner(rest, tail)),
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_match_segments_and_trees() {
        let cases = [
            ("/a/*", "/a/b", true),
            ("/a/*", "/a/b/c", false),
            ("**/snapshots/*", "/subscriptions/s/x/Snapshots/n", true),
            ("**/snapshots/*", "/subscriptions/s/x/snapshots", false),
            ("**", "/anything/at/all", true),
            (
                "Microsoft.Compute/disks/*",
                "microsoft.compute/disks/write",
                true,
            ),
            ("", "/", false),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(matches(pattern, text), expected, "{pattern} on {text}");
        }
    }
}
