//! What README and docs name exists in the programs, and what the programs have is in the docs.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod docs;
mod metrics;
mod programs;
mod rules;

use std::{fs, path::PathBuf};

/// A file of this tree.
fn path(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// What people read.
const DOCUMENTS: [&str; 3] = ["README.md", "docs/operations.md", "docs/security.md"];

fn documents() -> Vec<(&'static str, String)> {
    DOCUMENTS.map(|name| (name, read(name))).into()
}

/// The words of a text that begin so, of these letters.
fn words<'a>(
    text: &'a str,
    begin: &'a str,
    letter: fn(char) -> bool,
) -> impl Iterator<Item = &'a str> {
    text.match_indices(begin).filter_map(move |(at, _)| {
        let before = text[..at].chars().next_back();
        if before.is_some_and(letter) {
            return None;
        }
        let rest = &text[at..];
        let end = rest[begin.len()..].find(|c| !letter(c));
        Some(&rest[..end.map_or(rest.len(), |end| begin.len() + end)])
    })
}
