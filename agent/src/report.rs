//! The agent's status, for people and for programs.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use stillpoint_proto::agent::{Refusal, StatusResponse, refusal::Reason};

/// Whole milliseconds of a duration from the wire.
pub(crate) fn millis(duration: Option<prost_types::Duration>) -> u64 {
    let duration = duration.unwrap_or_default();
    let duration = Duration::try_from(duration).unwrap_or_default();
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn age(since: Option<prost_types::Timestamp>) -> u64 {
    since
        .and_then(|since| SystemTime::try_from(since).ok())
        .and_then(|since| since.elapsed().ok())
        .map_or(0, |age| age.as_secs())
}

fn reason(refusal: &Refusal) -> &'static str {
    Reason::try_from(refusal.reason)
        .unwrap_or_default()
        .as_str_name()
}

/// Tables, one for each kind.
pub(crate) fn table(status: &StatusResponse) -> String {
    let mut text = format!("node {}, agent {}\n", status.node, status.version);
    let mounts = status.mounts.iter().map(|mount| {
        let state = match (&mount.refusal, mount.frozen) {
            (_, true) => "frozen".into(),
            (Some(refusal), false) => format!("{}: {}", reason(refusal), refusal.message),
            (None, false) => "ready".into(),
        };
        [
            mount.volume.clone(),
            mount.mount_point.clone(),
            mount.filesystem.clone(),
            mount.device.clone(),
            state,
        ]
    });
    let head = ["VOLUME", "MOUNT POINT", "TYPE", "DEVICE", "STATE"];
    text += &aligned("volumes", head, mounts);
    let holds = status.holds.iter().map(|hold| {
        [
            hold.hold_id.clone(),
            hold.volumes.join(" "),
            hold.holder.clone(),
            format!("{} s", age(hold.since)),
            format!("{} ms", millis(hold.remaining)),
        ]
    });
    let head = ["HOLD", "VOLUMES", "HOLDER", "AGE", "REMAINING"];
    text += &aligned("holds", head, holds);
    let journal = status.journal.iter().map(|entry| {
        [
            entry.device.clone(),
            entry.mount_point.clone(),
            entry.state.clone(),
            format!("{} s", age(entry.since)),
        ]
    });
    let head = ["DEVICE", "MOUNT POINT", "STATE", "AGE"];
    text += &aligned("journal", head, journal);
    text
}

fn aligned<const N: usize>(
    what: &str,
    head: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
) -> String {
    let rows: Vec<_> = rows.collect();
    if rows.is_empty() {
        return format!("\nno {what}\n");
    }
    let mut widths = head.map(str::len);
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::from("\n");
    for row in std::iter::once(head.map(str::to_owned)).chain(rows) {
        let cells = row.iter().zip(widths);
        let line: String = cells
            .map(|(cell, width)| format!("{cell:width$}  "))
            .collect();
        text += line.trim_end();
        text += "\n";
    }
    text
}

/// The same as one JSON object; field names are those of the contract.
pub(crate) fn json(status: &StatusResponse) -> String {
    let mounts = status.mounts.iter().map(|mount| {
        let refusal = mount.refusal.as_ref();
        json!({
            "volume": mount.volume,
            "mount_point": mount.mount_point,
            "filesystem": mount.filesystem,
            "device": mount.device,
            "frozen": mount.frozen,
            "refusal": refusal.map(|refusal| json!({
                "reason": reason(refusal),
                "message": refusal.message,
            })),
        })
    });
    let holds = status.holds.iter().map(|hold| {
        json!({
            "hold_id": hold.hold_id,
            "volumes": hold.volumes,
            "holder": hold.holder,
            "since": hold.since.map(|since| since.to_string()),
            "remaining_ms": millis(hold.remaining),
        })
    });
    let journal = status.journal.iter().map(|entry| {
        json!({
            "device": entry.device,
            "mount_point": entry.mount_point,
            "state": entry.state,
            "since": entry.since.map(|since| since.to_string()),
        })
    });
    let value = json!({
        "node": status.node,
        "version": status.version,
        "mounts": mounts.collect::<Value>(),
        "holds": holds.collect::<Value>(),
        "journal": journal.collect::<Value>(),
    });
    format!("{value:#}\n")
}
