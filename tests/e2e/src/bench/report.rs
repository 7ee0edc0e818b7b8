//! The table of the bench and its JSON.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use stillpoint_lab::Settings;
use stillpoint_system::table::{Cell, Table, Tone, progress};

use super::{Size, case::Case, figures::Figures};

/// How long writes may stall beyond Azure's own time, in milliseconds.
const BEYOND: f64 = 100.0;
/// How many times as long as ours the stock plugin is to take for a whole backup.
const BACKUP: f64 = 3.0;
/// The same of a stall, for each volume that a pod has: a hook freezes all of them for all of their snapshots.
const STALL: f64 = 3.0;

pub(super) fn print(names: &[&str], cases: &[Case], figures: &[Vec<Figures>]) {
    let mut table = Table::default();
    let heads = names.iter().map(|name| Cell::plain(*name));
    let ratio = (names.len() > 1).then(|| Cell::new("ratio", Tone::Faint));
    table.row([Cell::plain("")].into_iter().chain(heads).chain(ratio));
    for (number, case) in cases.iter().enumerate() {
        let of: Vec<_> = figures.iter().map(|figures| &figures[number]).collect();
        table.line().row([Cell::plain(case.to_string())]);
        let mut row = |says: &str, value: fn(&Figures) -> f64, target: Option<f64>| {
            table.row(cells(says, of.iter().map(|figures| value(figures)), target));
        };
        let stall = STALL * case.volumes as f64;
        row(
            "longest stall of a write",
            |figures| figures.stall_max,
            Some(stall),
        );
        row("… median of the volumes", |figures| figures.stall_p50, None);
        row("… Azure's own time", |figures| figures.call_p50, None);
        row("… beyond that, median", |figures| figures.beyond_p50, None);
        row("… at most", |figures| figures.beyond_max, None);
        row("whole backup", |figures| figures.backup, Some(BACKUP));
        row("… by its timestamps", |figures| figures.backup_told, None);
    }
    println!("\n{table}");
    for (case, figures) in cases.iter().zip(&figures[0]) {
        let beyond = figures.beyond_max;
        if beyond > BEYOND {
            progress(format!(
                "{case}: a write stalled {beyond:.0} ms beyond Azure's own time; {BEYOND:.0} ms are the limit"
            ));
        }
    }
    progress(
        "Simulated Azure: snapshot 1.5 s, reads 20 ms, writes 50 ms, no Retry-After. Azure's own time: from the arrival of \
         the snapshot's PUT until it is Succeeded. Each volume: 512 bytes, fsync'd, every 5 ms.",
    );
}

/// A row, with how many times ours fits into the other's; judged if there is something to reach.
fn cells(says: &str, values: impl Iterator<Item = f64>, target: Option<f64>) -> Vec<Cell> {
    let values: Vec<_> = values.collect();
    let mut cells = vec![Cell::plain(format!("  {says}"))];
    cells.extend(
        values
            .iter()
            .map(|value| Cell::plain(format!("{value:.0} ms"))),
    );
    if let ([ours, stock], Some(target)) = (&values[..], target) {
        let ratio = stock / ours;
        let reached = ratio >= target;
        let text = format!("{ratio:.1} of {target:.0}");
        cells.push(Cell::judged(text, reached));
    }
    cells
}

pub(super) fn write(
    path: &Path,
    size: Size,
    lab: &Settings,
    names: &[&str],
    cases: &[Case],
    figures: &[Vec<Figures>],
) -> Result<()> {
    let cases: Vec<_> = cases
        .iter()
        .enumerate()
        .map(|(number, case)| {
            let plugins = names.iter().zip(figures);
            let plugins: serde_json::Map<_, Value> = plugins
                .map(|(name, figures)| ((*name).to_owned(), json!(figures[number])))
                .collect();
            json!({ "case": case, "plugins": plugins })
        })
        .collect();
    let report = json!({ "size": size, "lab": lab, "cases": cases });
    let directory = path.parent().context("a file is in a directory")?;
    fs::create_dir_all(directory)?;
    fs::write(path, serde_json::to_string_pretty(&report)?)?;
    progress(format!("Written to {}.", path.display()));
    Ok(())
}
