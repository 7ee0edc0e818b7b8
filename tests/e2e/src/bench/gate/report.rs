//! The table of the gate's bench and its JSON.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use serde_json::json;
use stillpoint_lab::Settings;
use stillpoint_system::table::{Cell, Table, Tone, progress};

use super::{Measured, Size, VOLUMES};
use crate::bench::figures::Figures;

/// What is to be reached: a stall beyond Azure's own time, an answer beyond the freeze, in milliseconds; MiB.
const BEYOND: f64 = 150.0;
const ANSWER: f64 = 100.0;
const MEMORY: f64 = 30.0;

pub(super) fn print(size: Size, driver: &str, measured: &Measured) {
    let mut table = Table::default();
    table.row(["", "gate", "exec hooks"].map(Cell::plain));
    heading(
        &mut table,
        "the driver's first VolumeSnapshot, with its login",
    );
    rows(&mut table, &[&measured.first]);
    for (volumes, figures) in VOLUMES.iter().zip(&measured.snapshots) {
        heading(&mut table, &format!("{volumes} VolumeSnapshot(s) at once"));
        rows(&mut table, &[figures]);
    }
    for (volumes, figures) in VOLUMES.iter().zip(&measured.backups) {
        let what = format!("Velero's CSI path, 1 pod x {volumes} volume(s)");
        heading(&mut table, &what);
        rows(&mut table, &[&figures[0], &figures[1]]);
    }
    let answer = &measured.answer;
    heading(&mut table, &format!("webhook, {} times", answer.rounds));
    row(&mut table, "update with a hold, median", [answer.held]);
    row(&mut table, "… that nobody is asked about", [answer.bare]);
    row(&mut table, "… fsfreeze alone", [answer.freeze]);
    judged(
        &mut table,
        "… beyond both, median",
        answer.beyond,
        ANSWER,
        "ms",
    );
    judged(&mut table, "… at most", answer.beyond_max, ANSWER, "ms");
    heading(&mut table, "memory");
    judged(
        &mut table,
        "peak in all of this",
        measured.peak,
        MEMORY,
        "MiB",
    );
    let what = format!("peak with {} known", size.known);
    judged(&mut table, &what, measured.known, MEMORY, "MiB");
    if let Some(burst) = &measured.burst {
        let what = format!("{} at once, {} volumes", burst.snapshots, burst.volumes);
        heading(&mut table, &what);
        let count = |count: usize| Cell::plain(count.to_string());
        let none = |count: usize| Cell::judged(count.to_string(), count == 0);
        let took = Cell::plain(format!("{:.0} s", burst.took));
        for (what, cell) in [
            ("until the last is ready", took),
            ("denied", none(burst.denied)),
            ("without a verdict", none(burst.left)),
            ("verdict filesystem", count(burst.filesystem)),
            ("… and the copy is not", none(burst.untrue)),
        ] {
            table.row([Cell::plain(format!("  {what}")), cell]);
        }
    }
    println!("\n{table}");
    let others = measured.burst.iter().flat_map(|burst| &burst.others);
    for (reason, count) in others {
        progress(format!("{count} of the burst: crash, {reason}"));
    }
    progress(format!(
        "Simulated Azure: snapshot 1.5 s, reads 20 ms, writes 50 ms; snapshots by {driver}. Azure's own time: from the \
         arrival of the snapshot's PUT until it is Succeeded. Each volume: 512 bytes, fsync'd, every 5 ms."
    ));
}

fn heading(table: &mut Table, what: &str) {
    table.line().row([Cell::plain(what)]);
}

fn rows(table: &mut Table, figures: &[&Figures]) {
    let of = |value: fn(&Figures) -> f64| figures.iter().map(move |figures| value(figures));
    row(table, "longest stall of a write", of(|it| it.stall_max));
    row(table, "… Azure's own time", of(|it| it.call_p50));
    let mut cells = vec![Cell::plain("  … beyond that, at most")];
    for (number, beyond) in of(|it| it.beyond_max).enumerate() {
        let text = format!("{beyond:.0} ms");
        // Ours comes first.
        cells.push(match number {
            0 => Cell::judged(text, beyond <= BEYOND),
            _ => Cell::plain(text),
        });
    }
    table.row(cells);
    row(table, "until all is done", of(|it| it.backup));
}

fn row(table: &mut Table, what: &str, values: impl IntoIterator<Item = f64>) {
    let values = values.into_iter();
    let values = values.map(|value| Cell::plain(format!("{value:.0} ms")));
    table.row([Cell::plain(format!("  {what}"))].into_iter().chain(values));
}

fn judged(table: &mut Table, what: &str, value: f64, most: f64, unit: &str) {
    let text = format!("{value:.1} {unit}");
    table.row([
        Cell::plain(format!("  {what}")),
        Cell::judged(text, value <= most),
        Cell::new(format!("of {most:.0}"), Tone::Faint),
    ]);
}

pub(super) fn write(
    path: &Path,
    size: Size,
    driver: &str,
    lab: &Settings,
    measured: &Measured,
) -> Result<()> {
    let report = json!({ "size": size, "driver": driver, "lab": lab, "measured": measured });
    let directory = path.parent().context("a file is in a directory")?;
    fs::create_dir_all(directory)?;
    fs::write(path, serde_json::to_string_pretty(&report)?)?;
    progress(format!("Written to {}.", path.display()));
    Ok(())
}
