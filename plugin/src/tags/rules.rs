//! Azure's rules for tags, and a set of tags that keeps them.
//!
//! At most 50; keys of at most 512 characters without `<>%&\?/`, compared without case, not beginning with
//! `microsoft`, `azure` or `windows`; values of at most 256 characters.
//! Source: learn.microsoft.com, "Use tags to organize your Azure resources", limitations.

use std::collections::BTreeMap;

const MOST: usize = 50;
const KEY: usize = 512;
const VALUE: usize = 256;
const RESERVED: [&str; 3] = ["microsoft", "azure", "windows"];
const FORBIDDEN: &str = "<>%&\\?/";

/// Whether a tag that a person set can be taken as it is.
///
/// # Errors
/// What would have been allowed.
pub fn check(key: &str, value: &str) -> Result<(), String> {
    if key.is_empty() || length(key) > KEY {
        return Err(format!("tag keys of 1 to {KEY} characters"));
    }
    if key.contains(|c| FORBIDDEN.contains(c)) {
        return Err(format!("tag keys without `{FORBIDDEN}`, unlike `{key}`"));
    }
    if is_reserved(key) {
        return Err(format!(
            "tag keys that do not begin with microsoft, azure or windows, which Azure reserves; `{key}` does"
        ));
    }
    if has_prefix(key, super::PREFIX) {
        return Err(format!(
            "tag keys that do not begin with {}; `{key}` does",
            super::PREFIX
        ));
    }
    if length(value) > VALUE {
        return Err(format!(
            "tag values of at most {VALUE} characters; that of `{key}` is longer"
        ));
    }
    Ok(())
}

/// A key as Azure takes it: what is forbidden becomes `-`, as the stock plugin does with `/`.
pub(super) fn key(text: &str) -> String {
    let replaced: String = text
        .chars()
        .map(|c| if FORBIDDEN.contains(c) { '-' } else { c })
        .collect();
    let replaced = if is_reserved(&replaced) {
        format!("_{replaced}")
    } else {
        replaced
    };
    cut(&replaced, KEY).0.to_owned()
}

pub(super) fn has_prefix(key: &str, prefix: &str) -> bool {
    key.get(..prefix.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

fn is_reserved(key: &str) -> bool {
    RESERVED.iter().any(|prefix| has_prefix(key, prefix))
}

/// Azure counts UTF-16 units, as its services are written in .NET; never less than characters.
fn length(text: &str) -> usize {
    text.encode_utf16().count()
}

/// The first part that is short enough, and the rest.
fn cut(text: &str, most: usize) -> (&str, &str) {
    let mut units = 0;
    let end = text
        .char_indices()
        .find(|(_, c)| {
            units += c.len_utf16();
            units > most
        })
        .map_or(text.len(), |(at, _)| at);
    text.split_at(end)
}

/// Tags within Azure's rules. What comes first wins.
#[derive(Default)]
pub(super) struct TagSet(BTreeMap<String, String>);

impl TagSet {
    /// Adds the tag, its value cut to what Azure takes, unless there is one of that key or no room.
    pub(super) fn offer(&mut self, key: &str, value: &str) {
        let taken = self.0.keys().any(|other| other.eq_ignore_ascii_case(key));
        let fits = !key.is_empty() && length(key) <= KEY;
        if self.0.len() < MOST && fits && !taken {
            self.0
                .insert(key.to_owned(), cut(value, VALUE).0.to_owned());
        }
    }

    /// Adds a value of any length: what does not fit goes on in `key-2`, `key-3` and so on.
    pub(super) fn offer_long(&mut self, key: &str, value: &str) {
        let (mut part, mut rest) = cut(value, VALUE);
        self.offer(key, part);
        let mut number = 2;
        while !rest.is_empty() {
            (part, rest) = cut(rest, VALUE);
            self.offer(&format!("{key}-{number}"), part);
            number += 1;
        }
    }

    pub(super) fn into_map(self) -> BTreeMap<String, String> {
        self.0
    }
}

/// The value of a tag, its key in any case.
pub(super) fn find<'a>(tags: &'a BTreeMap<String, String>, key: &str) -> Option<&'a str> {
    tags.get(key)
        .or_else(|| {
            tags.iter()
                .find(|(other, _)| other.eq_ignore_ascii_case(key))
                .map(|(_, value)| value)
        })
        .map(String::as_str)
}

/// What [`TagSet::offer_long`] wrote.
pub(super) fn find_long(tags: &BTreeMap<String, String>, key: &str) -> Option<String> {
    let mut value = find(tags, key)?.to_owned();
    for number in 2.. {
        let Some(part) = find(tags, &format!("{key}-{number}")) else {
            break;
        };
        value.push_str(part);
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_are_replaced_as_the_stock_plugin_does() {
        for (text, expected) in [
            ("velero.io/backup", "velero.io-backup"),
            ("a<b>c%d&e\\f?g/h", "a-b-c-d-e-f-g-h"),
            (
                "azure.workload.identity/use",
                "_azure.workload.identity-use",
            ),
            ("Windows", "_Windows"),
            ("plain", "plain"),
        ] {
            assert_eq!(key(text), expected);
        }
    }

    #[test]
    fn what_comes_first_wins_in_any_case() {
        let mut set = TagSet::default();
        set.offer("Team", "a");
        set.offer("team", "b");
        assert_eq!(
            set.into_map(),
            BTreeMap::from([("Team".to_owned(), "a".to_owned())])
        );
    }

    proptest! {
        #[test]
        fn every_key_becomes_one_that_azure_takes(text in "\\PC{1,700}") {
            let key = key(&text);
            prop_assert!(length(&key) <= KEY && !key.contains(|c| FORBIDDEN.contains(c)) && !is_reserved(&key));
        }

        #[test]
        fn long_values_round_trip(value in "\\PC{0,900}") {
            let mut set = TagSet::default();
            set.offer_long("key", &value);
            let tags = set.into_map();
            prop_assert!(tags.values().all(|part| length(part) <= VALUE));
            prop_assert_eq!(find_long(&tags, "KEY"), Some(value));
        }

        #[test]
        fn there_are_never_more_than_fifty(keys in prop::collection::vec("[a-zA-Z]{1,3}", 0..120)) {
            let mut set = TagSet::default();
            keys.iter().for_each(|key| set.offer(key, ""));
            prop_assert!(set.into_map().len() <= MOST);
        }
    }
}
