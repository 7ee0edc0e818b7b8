//! The keys of a location, whatever its kind. One without a value counts as not set, as in the stock plugin.

use std::collections::HashMap;

use super::ConfigError;

/// As long as the shortest base64 that may be a key: 32 bytes.
const KEY_AT_LEAST: usize = 43;

/// The config map of a location, every key of which is known.
pub(super) struct Keys<'a> {
    location: &'static str,
    config: &'a HashMap<String, String>,
}

impl<'a> Keys<'a> {
    /// Of a location of that kind, which knows these keys.
    pub(super) fn of(
        location: &'static str,
        config: &'a HashMap<String, String>,
        known: &[&str],
    ) -> Result<Self, ConfigError> {
        let unknown = config.keys().filter(|key| !known.contains(&key.as_str()));
        let Some(key) = unknown.min() else {
            return Ok(Self { location, config });
        };
        let meant = known.iter().find(|known| known.eq_ignore_ascii_case(key));
        Err(ConfigError::UnknownKey {
            location,
            key: key.clone(),
            hint: meant
                .map(|known| format!(" (`{known}`?)"))
                .unwrap_or_default(),
            known: known.join(", "),
        })
    }

    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.config
            .get(key)
            .map(String::as_str)
            .filter(|text| !text.is_empty())
    }

    pub(super) fn read<T>(
        &self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(text) = self.text(key) else {
            return Ok(None);
        };
        parse(text)
            .map(Some)
            .map_err(|expected| ConfigError::Value {
                location: self.location,
                key,
                value: shown(text),
                expected,
            })
    }

    pub(super) fn required<T>(
        &self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, ConfigError> {
        self.read(key, parse)?.ok_or(ConfigError::Missing {
            location: self.location,
            key,
        })
    }

    /// As in the stock plugin: a subscription alone would name the cluster's resource group in it.
    pub(super) fn needs(&self, key: &'static str, needs: &'static str) -> Result<(), ConfigError> {
        match (self.text(key), self.text(needs)) {
            (Some(value), None) => Err(ConfigError::Needs {
                location: self.location,
                key,
                value: value.to_owned(),
                needs,
            }),
            _ => Ok(()),
        }
    }
}

/// For an error: short, and without what may be a secret put into the wrong key.
fn shown(text: &str) -> String {
    let secret = text.contains("://") && text.contains(['?', '@'])
        || text.contains("sig=")
        || text
            .split(|c: char| !c.is_ascii_alphanumeric() && !"+/=".contains(c))
            .any(|run| run.len() >= KEY_AT_LEAST);
    match text.char_indices().nth(120) {
        _ if secret => "(not shown: it may hold a secret)".to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
