//! A disk in a pod's spec: as stanzas to paste, or put into a workload.

use std::io::{IsTerminal as _, Write};

use serde_json::{Map, Value, json};
use similar::{ChangeTag, TextDiff};

use super::{
    super::{
        Failure,
        cli::{Document, DryRun},
        confirm::confirm,
        output,
    },
    Plan, leaves,
};
use crate::{
    kubernetes::Workload,
    pv::{Inline, RestoredDisk},
};

/// Lines around a change.
const CONTEXT: usize = 3;

pub(super) async fn run(plan: &Plan<'_>, out: &mut impl Write) -> Result<(), Failure> {
    match &plan.asked.patch {
        Some(workload) => patch(plan, workload, out).await,
        None => stanzas(plan, out).await,
    }
}

async fn stanzas(plan: &Plan<'_>, out: &mut impl Write) -> Result<(), Failure> {
    let (disk, _) = if plan.is_dry() {
        plan.imagined()
    } else {
        plan.make_disk().await?
    };
    let filesystem = plan.filesystem();
    let inline = inline(&disk, filesystem.as_deref());
    let name = plan.asked.volume.as_deref().unwrap_or(&plan.name);
    let mut spec = Map::new();
    if let Some(affinity) = inline.affinity() {
        spec.insert("affinity".to_owned(), affinity);
    }
    spec.insert("volumes".to_owned(), json!([inline.volume(name)]));
    match plan.asked.output {
        Some(Document::Json) => output::json(out, &spec)?,
        Some(Document::Name) => writeln!(out, "{}", disk.id)?,
        Some(Document::Yaml) | None => output::yaml(out, &[Value::Object(spec)])?,
    }
    Ok(())
}

fn inline<'a>(disk: &'a RestoredDisk, filesystem: Option<&'a str>) -> Inline<'a> {
    Inline { disk, filesystem }
}

async fn patch(plan: &Plan<'_>, workload: &Workload, out: &mut impl Write) -> Result<(), Failure> {
    let by_hand = plan.by_hand()?;
    let found = by_hand.workload(&plan.namespace, workload).await;
    let found = found.map_err(Failure::Kubernetes)?;
    let (imagined, _) = plan.imagined();
    let changed = |disk: &RestoredDisk| {
        let filesystem = plan.filesystem();
        let volume = plan.asked.volume.as_deref();
        let inline = inline(disk, filesystem.as_deref());
        inline.patched(found.clone(), volume, &plan.name)
    };
    let would_be = changed(&imagined)?;
    show(&found, &would_be, out)?;
    // What the API server would refuse is better known before there is a disk.
    let checked = plan.asked.dry_run != DryRun::Client;
    if checked {
        let replaced = by_hand.replace(&plan.namespace, workload, &would_be, true);
        replaced.await?;
    }
    if plan.is_dry() {
        writeln!(out, "{workload} patched (dry run)")?;
        return Ok(());
    }
    confirm(
        &format!("Change {workload} in {}?", plan.namespace),
        plan.asked.yes,
    )?;
    let (disk, _) = plan.make_disk().await?;
    let replaced = changed(&disk)?;
    let replaced = by_hand.replace(&plan.namespace, workload, &replaced, false);
    if let Err(error) = replaced.await {
        let failure = error.into();
        leaves(&disk.id, &failure);
        return Err(failure);
    }
    writeln!(out, "{workload} patched")?;
    Ok(())
}

/// The difference between two workloads, as `kubectl diff` shows it.
fn show(before: &Value, after: &Value, out: &mut impl Write) -> Result<(), Failure> {
    let text = |value: &Value| {
        let mut text = Vec::new();
        let pods = value.pointer("/spec/template/spec").cloned();
        output::yaml(
            &mut text,
            &[json!({ "spec": { "template": { "spec": pods } } })],
        )?;
        String::from_utf8(text).map_err(std::io::Error::other)
    };
    let (before, after) = (text(before)?, text(after)?);
    let difference = TextDiff::from_lines(&before, &after);
    let colours = std::io::stdout().is_terminal();
    for hunk in difference
        .unified_diff()
        .context_radius(CONTEXT)
        .iter_hunks()
    {
        writeln!(out, "{}", hunk.header())?;
        for change in hunk.iter_changes() {
            let (sign, colour) = match change.tag() {
                ChangeTag::Delete => ('-', "31"),
                ChangeTag::Insert => ('+', "32"),
                ChangeTag::Equal => (' ', ""),
            };
            let line = change.value().trim_end();
            if colours && !colour.is_empty() {
                writeln!(out, "\u{1b}[{colour}m{sign}{line}\u{1b}[0m")?;
            } else {
                writeln!(out, "{sign}{line}")?;
            }
        }
    }
    Ok(())
}
