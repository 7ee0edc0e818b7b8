//! What must be true after a round: nothing is frozen, and was not for longer than allowed; no snapshot is lost, orphaned
//! or called what it is not; the agent serves.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use stillpoint_lab::{ResourceId, SnapshotView};
use tokio::time::{sleep, timeout};
use tonic::Status;

use super::{
    Fault,
    lane::{LIMIT, Lane},
    plan::{Moment, Plan},
    round::Ended,
};
use crate::{ask, inspect, scene::until};

/// How late a thaw may be, whatever happens.
const LATE: Duration = Duration::from_secs(1);
/// For what goes on in the background.
const SOON: Duration = Duration::from_secs(10);

/// A snapshot as it was asked for, and what the plugin answered.
pub(super) struct Call {
    pub(super) place: usize,
    pub(super) answer: Result<String, Status>,
}

/// Writes to the volumes come through, and did not stand still for longer than allowed.
pub(super) async fn thawed(lane: &mut Lane, plan: &Plan, picked: &[usize]) -> Result<Duration> {
    let mut longest = Duration::ZERO;
    for place in picked {
        lane.volumes[*place].is_thawed(LIMIT + LATE + SOON).await?;
        let stood = lane.volumes[*place].longest();
        longest = longest.max(stood);
        if stood >= LIMIT.mul_f32(0.9) {
            // It was thawed at its limit.
            lane.volumes[*place].rests = Instant::now() + stood;
        }
    }
    let hindered = plan.any(Fault::hinders_thaws);
    let noise = lane.noise.longest();
    let more = if hindered {
        plan.lasts + LATE
    } else {
        Duration::ZERO
    };
    let most = LIMIT + LATE + more + noise;
    ensure!(
        longest <= most,
        "frozen for {longest:?}: at most {most:?} are allowed, {noise:?} of them for the machine"
    );
    Ok(if hindered { Duration::ZERO } else { longest })
}

/// Every snapshot is accounted for; all are gone then.
pub(super) async fn snapshots(lane: &mut Lane, plan: &Plan, calls: &[Call]) -> Result<Ended> {
    let mut ended = Ended::default();
    let mut named = Vec::new();
    for call in calls {
        let name = &lane.volumes[call.place].volume.id.name;
        match &call.answer {
            Ok(id) => {
                let id: ResourceId = id.parse()?;
                if is_whole(lane, plan, call.place, &id).with_context(|| name.clone())? {
                    ended.whole += 1;
                } else {
                    ended.crash += 1;
                }
                named.push(id);
            }
            Err(_) => ended.refused += 1,
        }
        expected(plan, call).with_context(|| name.clone())?;
    }
    let is_left = |snapshot: &SnapshotView| !named.contains(&snapshot.id);
    let lab = &lane.rig.lab;
    // What the plugin deletes in the background goes; what a dead one left stays.
    let gone = until("what is left over is deleted", || {
        !lab.snapshots().iter().any(is_left)
    });
    let patience = if leaves(plan) {
        Duration::from_millis(300)
    } else {
        SOON
    };
    if !timeout(patience, gone).await.is_ok_and(|gone| gone.is_ok()) {
        ended.unsaid = unsaid(lane, plan, &named).await?;
        ended.swept = sweep(lane, plan, &named).await?;
    }
    for id in named {
        let deleted = lane.snapshotter.delete_snapshot(&id.to_string()).await;
        deleted.context("the snapshot cannot be deleted")?;
    }
    let left = lane.rig.lab.snapshots();
    ensure!(left.is_empty(), "left over: {left:?}");
    Ok(ended)
}

/// A plugin that was ended in the middle, or could not delete, may leave what the next one sweeps.
fn leaves(plan: &Plan) -> bool {
    plan.any(|fault| fault.is_plugins() || fault.is_azures())
}

/// Whether it is called filesystem-consistent, which is true then.
fn is_whole(lane: &Lane, plan: &Plan, place: usize, id: &ResourceId) -> Result<bool> {
    let lab = &lane.rig.lab;
    let snapshot = lab.snapshot(id).context("the snapshot is lost")?;
    let tag = |name: &str| snapshot.tags.get(name).map_or("", String::as_str);
    ensure!(tag("stillpoint-state") == "complete", "{:?}", snapshot.tags);
    let worth = tag("stillpoint-consistency");
    if worth != "filesystem" {
        ensure!(worth == "crash", "{:?}", snapshot.tags);
        ensure!(!tag("stillpoint-reason").is_empty(), "{:?}", snapshot.tags);
        ensure!(
            plan.mode == "auto",
            "`required` let it be: {:?}",
            snapshot.tags
        );
        return Ok(false);
    }
    let source = &lane.volumes[place].volume;
    ensure!(
        snapshot.source == source.id,
        "of another disk: {}",
        snapshot.source
    );
    let copy = lab.copy_of(id)?;
    let journal = inspect::journal(&copy, source.kind);
    let _ = std::fs::remove_file(copy);
    let journal = journal?;
    ensure!(
        journal.clean,
        "called filesystem-consistent, but {journal:?}"
    );
    Ok(true)
}

/// What no fault excuses.
fn expected(plan: &Plan, call: &Call) -> Result<()> {
    let alone = plan.faults.len() == 1;
    let undisturbed = plan.has(Fault::None)
        // The hold was there when the agent was told to end.
        || alone && plan.has(Fault::AgentUpdated) && plan.kinds.len() == 1
            && matches!(plan.moment, Moment::AfterThePut(_));
    match &call.answer {
        // A second may pass on a busy machine.
        Err(status) if undisturbed && !status.message().contains("the limit of 1s passed") => {
            bail!("refused: {status}")
        }
        Err(status) if plan.mode == "auto" && !leaves(plan) => {
            bail!("`auto` goes on whatever becomes of the agent: {status}")
        }
        _ => Ok(()),
    }
}

/// A plugin that is killed between its last request and its answer leaves a complete snapshot that only Velero's record
/// tells from another: there is none here, so they are counted, and deleted by hand.
async fn unsaid(lane: &Lane, plan: &Plan, named: &[ResourceId]) -> Result<u64> {
    let mut unsaid = 0;
    for snapshot in lane.rig.lab.snapshots() {
        let complete =
            snapshot.tags.get("stillpoint-state").map(String::as_str) == Some("complete");
        if !complete || named.contains(&snapshot.id) {
            continue;
        }
        ensure!(
            plan.has(Fault::PluginKilled),
            "an orphan that no sweep finds: {:?}",
            snapshot.tags
        );
        let mut volumes = lane.volumes.iter();
        let place = volumes.position(|one| one.volume.id == snapshot.source);
        is_whole(lane, plan, place.context("of no volume")?, &snapshot.id)?;
        let deleted = lane
            .snapshotter
            .delete_snapshot(&snapshot.id.to_string())
            .await;
        deleted.context("the snapshot cannot be deleted")?;
        unsaid += 1;
    }
    Ok(unsaid)
}

/// What a plugin left that did not come to its end understates itself, and a later one takes it away.
async fn sweep(lane: &mut Lane, plan: &Plan, named: &[ResourceId]) -> Result<u64> {
    let left = |lane: &Lane| {
        let mut left = lane.rig.lab.snapshots();
        left.retain(|snapshot| !named.contains(&snapshot.id));
        left
    };
    until("Azure is done with what is left over", || {
        let is_done = |one: &SnapshotView| !matches!(one.state.as_str(), "Creating" | "Deleting");
        left(lane).iter().all(is_done)
    })
    .await?;
    let pending = left(lane);
    for snapshot in &pending {
        let tag = |name: &str| snapshot.tags.get(name).map_or("", String::as_str);
        ensure!(
            tag("stillpoint-state") == "pending" && tag("stillpoint-consistency") == "crash",
            "an orphan that no sweep finds: {:?}",
            snapshot.tags
        );
        ensure!(
            leaves(plan),
            "an orphan of a living plugin: {:?}",
            snapshot.id
        );
        // Sweeps take what is older than an hour, by Azure's clock.
        lane.rig
            .lab
            .backdate_snapshot(&snapshot.id, Duration::from_secs(2 * 3600))?;
    }
    lane.start_plugin(false).await?;
    lane.set_mode(plan.mode).await?;
    let begun = Instant::now();
    while !left(lane).is_empty() {
        ensure!(begun.elapsed() < SOON, "never swept: {:?}", left(lane));
        sleep(Duration::from_millis(5)).await;
    }
    Ok(u64::try_from(pending.len())?)
}

/// The agent answers.
pub(super) async fn answers(lane: &mut Lane) -> Result<()> {
    let (begun, socket) = (Instant::now(), lane.rig.socket());
    while let Err(error) = ask::status(&socket).await {
        ensure!(
            begun.elapsed() < SOON,
            "the agent does not answer: {error:#}"
        );
        sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// The agent holds volumes again.
pub(super) async fn serves(lane: &mut Lane, picked: &[usize]) -> Result<()> {
    answers(lane).await?;
    let socket = lane.rig.socket();
    for place in picked {
        let handle = lane.volumes[*place].volume.handle();
        let held = ask::hold(&socket, &handle).await;
        ensure!(
            held.context("the agent does not hold")?,
            "the hold did not last"
        );
    }
    let (begun, journal) = (Instant::now(), lane.rig.scratch().join("agent/journal"));
    loop {
        let entries = std::fs::read_dir(&journal)?.flatten();
        let entries: Vec<_> = entries
            .map(|entry| entry.file_name())
            .filter(|name| name.to_string_lossy().ends_with(".freeze"))
            .collect();
        if entries.is_empty() {
            return Ok(());
        }
        ensure!(begun.elapsed() < SOON, "left in the journal: {entries:?}");
        sleep(Duration::from_millis(10)).await;
    }
}
