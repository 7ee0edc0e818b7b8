//! What the simulated Azure saw of a run.

use std::time::Duration;

use anyhow::{Context as _, Result};
use stillpoint_lab::{Lab, RequestRecord, SnapshotView};

use super::Figures;

/// How much longer than Azure's own time, from the PUT's arrival to Succeeded, each filesystem stood still.
pub(super) fn freezes(
    lab: &Lab,
    snapshots: &[String],
    run: &str,
    figures: &mut Figures,
) -> Result<()> {
    let (mut over, mut frozen, mut crashed) = (Vec::new(), Vec::new(), 0.0);
    for id in snapshots {
        let seen = lab.snapshot(&id.parse()?).context("a snapshot is gone")?;
        if seen.tags.get("stillpoint-consistency").map(String::as_str) != Some("filesystem") {
            crashed += 1.0;
            continue;
        }
        let stood = frozen_for(&seen)?;
        let azure = seen
            .succeeded
            .context("it never succeeded")?
            .since(&seen.accepted);
        over.push(stood.saturating_sub(azure));
        frozen.push(stood);
    }
    figures.time(&format!("{run}_over_p50"), percentile(&mut over, 0.5));
    figures.time(&format!("{run}_over_p99"), percentile(&mut over, 0.99));
    figures.time(&format!("{run}_frozen_max"), percentile(&mut frozen, 1.0));
    figures.set(&format!("{run}_crash"), crashed);
    Ok(())
}

/// Requests a snapshot: polls, logins of the process, and all others.
pub(super) fn requests(lab: &Lab, snapshots: usize, figures: &mut Figures) {
    let requests = lab.requests();
    let count = |wanted: fn(&RequestRecord) -> bool| {
        requests.iter().filter(|request| wanted(request)).count() as f64
    };
    let (polls, logins) = (count(is_poll), count(is_token));
    let others = requests.len() as f64 - polls - count(is_login);
    figures.set("requests_a_snapshot", others / snapshots as f64);
    figures.set("polls_a_snapshot", polls / snapshots as f64);
    figures.set("logins", logins);
}

/// A look at whether something has ended: of a snapshot, their list, an operation.
fn is_poll(request: &RequestRecord) -> bool {
    let path = request.path.to_ascii_lowercase();
    request.method == "GET"
        && ["/snapshots", "/diskoperations"]
            .iter()
            .any(|part| path.contains(part))
}

fn is_token(request: &RequestRecord) -> bool {
    request.path.ends_with("/token")
}

fn is_login(request: &RequestRecord) -> bool {
    is_token(request)
        || request.path.contains("/discovery/")
        || request.path.contains("/.well-known/")
}

fn frozen_for(snapshot: &SnapshotView) -> Result<Duration> {
    let millis = snapshot
        .tags
        .get("stillpoint-frozen-ms")
        .context("no stillpoint-frozen-ms")?;
    Ok(Duration::from_millis(millis.parse()?))
}

/// The time below which that share of them lies.
pub(super) fn percentile(times: &mut [Duration], share: f64) -> Duration {
    times.sort();
    let last = times.len().saturating_sub(1);
    times
        .get((last as f64 * share).round() as usize)
        .copied()
        .unwrap_or_default()
}
