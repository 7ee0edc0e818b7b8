//! What is on a filesystem, to be compared with another.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;

/// Every file with its content, and every directory.
pub type Content = BTreeMap<PathBuf, Vec<u8>>;

/// What is below a directory.
pub fn all(root: &Path) -> Result<Content> {
    let mut found = Content::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            let (path, kind) = (entry.path(), entry.file_type()?);
            let content = match kind {
                kind if kind.is_file() => fs::read(&path)?,
                kind if kind.is_dir() => {
                    open.push(path.clone());
                    Vec::new()
                }
                _ => continue,
            };
            found.insert(path.strip_prefix(root)?.to_owned(), content);
        }
    }
    Ok(found)
}

/// Panics unless both are the same; without the contents in the message.
pub fn assert_same(found: &Content, expected: &Content, what: &str) {
    assert!(found.keys().eq(expected.keys()), "{what}: other files");
    for (name, content) in expected {
        assert!(found[name] == *content, "{what}: {name:?} differs");
    }
}
