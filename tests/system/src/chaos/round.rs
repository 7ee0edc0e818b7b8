//! One round: snapshots are asked for, a fault comes, what it broke is mended, and what must be true is looked at.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use stillpoint_lab::{Action, Fault as AzureFault};
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};
use tonic::Status;

use super::{
    Fault,
    check::{self, Call},
    lane::Lane,
    plan::{Dice, Moment, Plan},
};
use crate::{rig::ZONE, scene};

/// No call takes longer: a stalled agent's client gives up after 5 s.
const PATIENCE: Duration = Duration::from_secs(40);

/// What came of a round.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ended {
    /// Snapshots called filesystem-consistent, which they were.
    pub(super) whole: u64,
    pub(super) crash: u64,
    pub(super) refused: u64,
    /// Pending ones that a later start of the plugin swept.
    pub(super) swept: u64,
    /// Complete ones that a killed plugin could not say the ID of any more.
    pub(super) unsaid: u64,
    /// That writes stood still.
    pub(super) longest: Duration,
}

type Taking = JoinHandle<Result<String, Status>>;

pub(super) async fn run(lane: &mut Lane, plan: &Plan) -> Result<Ended> {
    lane.rig.lab.clear_faults();
    lane.rig.lab.clear_requests();
    if plan.has(Fault::HostKilled) {
        lane.start_plugin(true).await.context("starting a host")?;
    }
    lane.set_mode(plan.mode).await.context("Init")?;
    let picked = lane.pick(plan).await?;
    for place in &picked {
        lane.volumes[*place].forget();
    }
    lane.noise.forget();

    let mut dice = plan.dice.clone();
    if plan.any(Fault::is_azures) {
        inject(lane, plan, &mut dice);
    }
    let takings: Vec<Taking> = picked.iter().map(|place| take(lane, *place)).collect();
    match plan.moment {
        Moment::AfterTheCall(pause) => sleep(pause).await,
        Moment::AfterThePut(pause) => {
            lane.asked().await;
            sleep(pause).await;
        }
    }
    for fault in &plan.faults {
        let begun = begin(lane, &picked, *fault, &takings, &mut dice).await;
        begun.with_context(|| format!("doing {fault}"))?;
    }
    sleep(plan.lasts).await;
    for fault in &plan.faults {
        let mended = mend(lane, &picked, *fault).await;
        mended.with_context(|| format!("undoing {fault}"))?;
    }
    let mut calls = Vec::new();
    for (place, taking) in picked.iter().zip(takings) {
        let ended = timeout(PATIENCE, taking)
            .await
            .context("a call never ends")?;
        let answer = ended.unwrap_or_else(|_| Err(Status::cancelled("by the host")));
        calls.push(Call {
            place: *place,
            answer,
        });
    }
    lane.rig.lab.clear_faults();
    // Later than that nothing is frozen any more.
    let longest = check::thawed(lane, plan, &picked).await?;
    restart(lane, plan).await?;
    let mut ended = check::snapshots(lane, plan, &calls).await?;
    check::serves(lane, &picked).await?;
    ended.longest = longest;
    Ok(ended)
}

fn take(lane: &Lane, place: usize) -> Taking {
    let (snapshotter, volume) = (
        lane.snapshotter.clone(),
        lane.volumes[place].volume.handle(),
    );
    tokio::spawn(async move {
        let tags = [("velero.io/backup", "chaos")];
        snapshotter.create_snapshot(&volume, ZONE, &tags).await
    })
}

/// Whatever request of snapshots it is that meets Azure's fault.
fn inject(lane: &Lane, plan: &Plan, dice: &mut Dice) {
    let method = dice.one_of(&["PUT", "PUT", "GET", "PATCH", "DELETE"]);
    let millis = |dice: &mut Dice| Duration::from_millis(20) + dice.millis(800);
    let by = millis(dice);
    let fault = plan.faults.iter().find(|fault| fault.is_azures());
    let action = match fault {
        Some(Fault::AzureThrottles) => Some(scene::throttled()),
        Some(Fault::AzureErrs) => dice.one_of(&[500, 502, 503, 504]).map(scene::status),
        Some(Fault::AzureBreaksOff) => {
            dice.one_of(&[Action::CloseBefore, Action::CloseAfter, Action::Truncate])
        }
        Some(Fault::AzureIsSlow) => dice.one_of(&[
            Action::Delay { by },
            Action::DelayAnswer { by },
            Action::Stay { period: by },
        ]),
        Some(Fault::AzureFails) => Some(Action::FailOperation {
            code: "InternalExecutionError".into(),
            message: "An internal execution error occurred.".into(),
        }),
        Some(Fault::AzureHangs) => Some(Action::Hang { period: by }),
        _ => None,
    };
    // An operation is started by what changes something.
    let starts = matches!(
        action,
        Some(Action::FailOperation { .. } | Action::Stay { .. })
    );
    if let (Some(method), Some(action)) = (method, action) {
        lane.rig.lab.inject(AzureFault {
            method: Some(if starts { "PUT" } else { method }.into()),
            path: "**/snapshots/*".into(),
            skip: u32::try_from(dice.below(3)).unwrap_or_default() * u32::from(method == "GET"),
            times: 1 + u32::try_from(dice.below(3)).unwrap_or_default(),
            action,
        });
    }
}

async fn begin(
    lane: &mut Lane,
    picked: &[usize],
    fault: Fault,
    takings: &[Taking],
    dice: &mut Dice,
) -> Result<()> {
    match fault {
        Fault::None
        | Fault::AzureThrottles
        | Fault::AzureErrs
        | Fault::AzureBreaksOff
        | Fault::AzureIsSlow
        | Fault::AzureFails
        | Fault::AzureHangs => {}
        // A worker that is not there is as good as killed, or stopped.
        Fault::WorkerKilled => drop(lane.rig.agent()?.signal_worker(Signal::KILL)),
        Fault::WorkerStopped => drop(lane.rig.agent()?.signal_worker(Signal::STOP)),
        Fault::SupervisorKilled => lane.rig.agent()?.signal(Signal::KILL),
        Fault::SupervisorStopped => lane.rig.agent()?.signal(Signal::STOP),
        Fault::ContainerKilled => lane.rig.agent()?.kill_container(),
        Fault::AgentUpdated => lane.rig.agent()?.signal(Signal::TERM),
        Fault::PluginKilled | Fault::HostKilled => lane.plugin.kill().await?,
        Fault::PluginStopped => lane.plugin.signal(Signal::STOP)?,
        Fault::PluginTerminated => lane.plugin.signal(Signal::TERM)?,
        Fault::HostCancels => takings.iter().for_each(JoinHandle::abort),
        Fault::ConnectionCut => lane.link.iter().for_each(super::link::Link::cut),
        Fault::ConnectionStalled => lane.link.iter().for_each(super::link::Link::stall),
        Fault::SlowDisk => {
            for throttle in picked
                .iter()
                .filter_map(|place| lane.volumes[*place].throttle.as_ref())
            {
                throttle.slow()?;
            }
        }
        Fault::JournalFull => lane.fill_journal(true)?,
        Fault::ClockJumps => {
            let years = i64::try_from(1 + dice.below(30))?;
            let back = if dice.is_one_in(2) { -1 } else { 1 };
            lane.clock.jump(back * years * 365 * 24 * 3600)?;
        }
        Fault::LeaseExpired => {
            if let Some(site) = &lane.site {
                site.renewed(Duration::from_secs(3600)).await?;
            }
        }
        Fault::ApiLost => lane.site.iter().for_each(|site| site.api.shut()),
    }
    Ok(())
}

/// What ends by itself, or by the kubelet, while the calls go on.
async fn mend(lane: &mut Lane, picked: &[usize], fault: Fault) -> Result<()> {
    match fault {
        Fault::WorkerStopped | Fault::SupervisorStopped => lane.wake_agent()?,
        Fault::SupervisorKilled | Fault::ContainerKilled => lane.start_agent().await?,
        Fault::PluginStopped => lane.plugin.signal(Signal::CONT)?,
        Fault::ConnectionStalled => lane.link.iter().for_each(super::link::Link::mend),
        Fault::SlowDisk => {
            for throttle in picked
                .iter()
                .filter_map(|place| lane.volumes[*place].throttle.as_ref())
            {
                throttle.mend()?;
            }
        }
        Fault::JournalFull => lane.fill_journal(false)?,
        Fault::ClockJumps => lane.clock.jump(0)?,
        Fault::LeaseExpired => {
            if let Some(site) = &lane.site {
                site.renewed(Duration::ZERO).await?;
            }
        }
        Fault::ApiLost => lane.site.iter().for_each(|site| site.api.mend()),
        _ => {}
    }
    Ok(())
}

/// What is started again when the calls have ended.
async fn restart(lane: &mut Lane, plan: &Plan) -> Result<()> {
    if plan.has(Fault::AgentUpdated) {
        let begun = Instant::now();
        while !lane.rig.agent()?.has_ended() {
            ensure!(
                begun.elapsed() < Duration::from_secs(10),
                "the agent does not end"
            );
            sleep(Duration::from_millis(5)).await;
        }
        lane.start_agent().await.context("the new agent")?;
    } else if plan.has(Fault::WorkerKilled) {
        // Else pauses before the next worker grow from round to round; that it comes is looked at first.
        check::answers(lane).await?;
        lane.start_agent().await.context("another agent")?;
    }
    if plan.has(Fault::HostKilled) {
        let logs = lane.plugin.logs().clone();
        let ended = timeout(Duration::from_secs(20), logs.ended()).await;
        ended.context("the plugin lives on without its host")?;
    }
    let is_gone = |fault| {
        matches!(
            fault,
            Fault::PluginKilled | Fault::PluginTerminated | Fault::HostKilled
        )
    };
    if plan.any(is_gone) {
        lane.start_plugin(false).await.context("another plugin")?;
        lane.set_mode(plan.mode).await.context("Init")?;
    }
    Ok(())
}
