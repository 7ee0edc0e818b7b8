//! The roles in `deploy/azure`, and what an identity needed.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Role {
    #[serde(rename = "Name")]
    _name: String,
    #[serde(rename = "Description")]
    _description: String,
    is_custom: bool,
    actions: Vec<String>,
    not_actions: Vec<String>,
    assignable_scopes: Vec<String>,
}

/// Fails unless an identity that has needed `used` has needed all of that role, and nothing else.
pub fn is_exactly(role: &str, used: &BTreeSet<String>) -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../deploy/azure")
        .join(format!("{role}-role.json"));
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let read: Role = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
    ensure!(
        read.is_custom && read.not_actions.is_empty() && !read.assignable_scopes.is_empty(),
        "{role}: Azure takes no such role: {text}"
    );
    let granted: BTreeSet<_> = read.actions.into_iter().collect();
    let difference = |a: &BTreeSet<String>, b: &BTreeSet<String>| -> Vec<String> {
        a.difference(b).cloned().collect()
    };
    let (unused, missing) = (difference(&granted, used), difference(used, &granted));
    ensure!(
        unused.is_empty() && missing.is_empty(),
        "{role}: granted and not needed {unused:?}, needed and not granted {missing:?}"
    );
    Ok(())
}
