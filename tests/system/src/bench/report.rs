//! The table of a bench and its JSON.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use serde_json::json;
use stillpoint_lab::Settings;

use super::{Figures, Size};
use crate::table::{Cell, Table, Tone, progress};

/// Name, what it says, unit.
const ROWS: [(&str, &str, &str); 37] = [
    ("start_to_list", "start to ListPlugins, median", "ms"),
    ("peak_mib", "peak memory, in sequence", "MiB"),
    ("eight_peak_mib", "peak memory, 8 at once", "MiB"),
    ("cpu_a_snapshot", "CPU a snapshot", "ms"),
    (
        "requests_a_snapshot",
        "requests a snapshot, besides polls",
        "",
    ),
    ("polls_a_snapshot", "polls a snapshot", ""),
    ("logins", "logins of the process", ""),
    ("sequence", "in sequence", "ms"),
    ("sequence_to_limit", "… over the limit that Azure sets", "×"),
    ("sequence_failed", "… failed", ""),
    (
        "sequence_over_p50",
        "… frozen beyond Azure's own time, p50",
        "ms",
    ),
    ("sequence_over_p99", "… p99", "ms"),
    ("eight", "8 at once", "ms"),
    ("eight_to_limit", "… over the limit", "×"),
    ("eight_failed", "… failed", ""),
    (
        "eight_over_p50",
        "… frozen beyond Azure's own time, p50",
        "ms",
    ),
    ("eight_over_p99", "… p99", "ms"),
    ("limited_eight", "8 at once, request limits on", "ms"),
    ("limited_eight_to_limit", "… over the limit", "×"),
    (
        "limited_eight_over_p50",
        "… frozen beyond Azure's own time, p50",
        "ms",
    ),
    ("limited_eight_over_p99", "… p99", "ms"),
    ("limited", "50 at once, request limits on", "ms"),
    ("limited_failed", "… failed", ""),
    ("limited_crash", "… not frozen throughout", ""),
    (
        "limited_over_p50",
        "… frozen beyond Azure's own time, p50",
        "ms",
    ),
    ("limited_frozen_max", "… frozen at most", "ms"),
    ("restore", "restore, median", "ms"),
    ("delete", "delete, median", "ms"),
    ("upload_near", "object, upload", "MiB/s"),
    ("upload_far", "… at 20 ms", "MiB/s"),
    ("server_upload", "… the blob server alone", "MiB/s"),
    ("download_near", "object, download", "MiB/s"),
    ("download_far", "… at 20 ms", "MiB/s"),
    ("server_download", "… the blob server alone", "MiB/s"),
    (
        "upload_peak_mib",
        "large object, peak memory of an upload",
        "MiB",
    ),
    ("download_peak_mib", "… of a download", "MiB"),
    ("list", "list of all objects", "ms"),
];

pub(super) fn print(size: Size, names: &[&str], figures: &[Figures]) {
    let mut table = Table::default();
    let heads = names.iter().map(|name| Cell::plain(*name));
    let ratio = (names.len() > 1).then(|| Cell::new("ratio", Tone::Faint));
    table
        .row([Cell::plain("")].into_iter().chain(heads).chain(ratio))
        .line();
    for (name, says, unit) in ROWS {
        let values: Vec<_> = figures.iter().map(|figures| figures.get(name)).collect();
        if values.iter().all(Option::is_none) {
            continue;
        }
        let cells = values
            .iter()
            .map(|value| Cell::plain(value.map_or("–".into(), |value| shown(value, unit))));
        let ratio = match values[..] {
            [Some(ours), Some(stock)] if ours > 0.0 => format!("{:.1}", stock / ours),
            _ => String::new(),
        };
        table.row(
            [Cell::plain(says)]
                .into_iter()
                .chain(cells)
                .chain([Cell::new(ratio, Tone::Faint)]),
        );
    }
    println!("\n{table}");
    progress(format!(
        "Simulated Azure: snapshot 1.5 s, reads 20 ms, writes 50 ms; limits 250 reads + 25/s, 200 writes + 10/s. \
         {} volumes in sequence and 8 at once, {} by 50 workers.",
        size.volumes, size.limited
    ));
}

fn shown(value: f64, unit: &str) -> String {
    let digits = if unit == "×" {
        3
    } else {
        usize::from(value < 100.0 && value.fract() != 0.0)
    };
    format!("{value:.digits$} {unit}").trim_end().to_owned()
}

pub(super) fn write(
    path: &Path,
    size: Size,
    settings: &Settings,
    names: &[&str],
    figures: &[Figures],
) -> Result<()> {
    let plugins: serde_json::Map<_, _> = names
        .iter()
        .zip(figures)
        .map(|(name, figures)| ((*name).to_owned(), json!(figures)))
        .collect();
    let settings = Settings {
        directory: None,
        ..settings.clone()
    };
    let report = json!({ "size": size, "lab": settings, "plugins": plugins });
    let directory = path.parent().context("a file is in a directory")?;
    fs::create_dir_all(directory)?;
    fs::write(path, serde_json::to_string_pretty(&report)?)?;
    progress(format!("Written to {}.", path.display()));
    Ok(())
}
