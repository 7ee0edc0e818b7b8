//! One line of the log.

use std::fmt;

use jiff::Timestamp;
use serde_json::{Map, Value};
use tracing::{Level, field};

/// go-plugin's host reads lines of up to 64 KiB; what is longer arrives in pieces, as text, at debug.
const LONGEST_LINE: usize = 60 * 1024;
const LONGEST_TEXT: usize = 8 * 1024;
const SHORT_TEXT: usize = 512;

/// Key and value pairs of an event or a span.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields {
    message: String,
    pairs: Map<String, Value>,
}

impl Fields {
    /// Takes from an outer span what it does not have itself.
    pub(super) fn fill(&mut self, outer: &Self) {
        for (key, value) in &outer.pairs {
            if !self.pairs.contains_key(key) {
                self.pairs.insert(key.clone(), value.clone());
            }
        }
    }

    pub(super) fn insert(&mut self, key: &str, value: Value) {
        let key = match key {
            // Velero drops these, or they are the entry's own.
            "time" | "timestamp" | "level" | "msg" | "@level" | "@message" | "@timestamp" => {
                format!("fields.{key}")
            }
            key => key.strip_prefix("r#").unwrap_or(key).to_owned(),
        };
        let value = match (key.as_str(), value) {
            (_, Value::String(text)) => Value::String(shorten(text, LONGEST_TEXT)),
            // Velero's LogHook asserts that they are strings, and panics.
            ("name" | "namespace" | "resource", value) => Value::String(value.to_string()),
            (_, value) => value,
        };
        self.pairs.insert(key, value);
    }

    /// The line, with its end.
    pub(super) fn into_line(self, level: Level, now: Timestamp) -> Vec<u8> {
        let line = self.line(level, now, LONGEST_TEXT);
        if line.len() <= LONGEST_LINE {
            return line;
        }
        let line = self.line(level, now, SHORT_TEXT);
        if line.len() <= LONGEST_LINE {
            return line;
        }
        let bare = Self {
            message: self.message,
            pairs: Map::new(),
        };
        bare.line(level, now, LONGEST_TEXT / 2)
    }

    fn line(&self, level: Level, now: Timestamp, longest: usize) -> Vec<u8> {
        let mut entry = Map::with_capacity(self.pairs.len() + 3);
        entry.insert("@level".to_owned(), name(level).into());
        entry.insert(
            "@message".to_owned(),
            shorten(self.message.clone(), longest).into(),
        );
        entry.insert(
            "@timestamp".to_owned(),
            now.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string().into(),
        );
        for (key, value) in &self.pairs {
            let value = match value {
                Value::String(text) => shorten(text.clone(), longest).into(),
                value => value.clone(),
            };
            entry.insert(key.clone(), value);
        }
        let mut line = Value::Object(entry).to_string().into_bytes();
        line.push(b'\n');
        line
    }
}

/// As hclog spells it.
fn name(level: Level) -> &'static str {
    match level {
        Level::TRACE => "trace",
        Level::DEBUG => "debug",
        Level::INFO => "info",
        Level::WARN => "warn",
        Level::ERROR => "error",
    }
}

fn shorten(mut text: String, longest: usize) -> String {
    if text.len() > longest {
        let mut end = longest;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let cut = text.len() - end;
        text.truncate(end);
        text.push_str(&format!("… ({cut} bytes more)"));
    }
    text
}

impl field::Visit for Fields {
    fn record_debug(&mut self, field: &field::Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" {
            self.message = text;
        } else {
            self.insert(field.name(), text.into());
        }
    }

    fn record_str(&mut self, field: &field::Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.insert(field.name(), value.into());
        }
    }

    fn record_i64(&mut self, field: &field::Field, value: i64) {
        self.insert(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &field::Field, value: u64) {
        self.insert(field.name(), value.into());
    }

    fn record_f64(&mut self, field: &field::Field, value: f64) {
        self.insert(field.name(), value.into());
    }

    fn record_bool(&mut self, field: &field::Field, value: bool) {
        self.insert(field.name(), value.into());
    }
}
