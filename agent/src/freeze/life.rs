//! The task of one freeze: makes it, waits for its end, thaws, frees or rests its slot.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use rustix::io::Errno;
use tokio::{
    task::{JoinError, spawn_blocking},
    time::{Instant, sleep, sleep_until},
};

use super::{Freeze, Progress, Shared, Slot, Span, frost::Frost};
use crate::{error::HoldError, metrics::Broken};

/// After FITHAW failed. The supervisor tries on its own, too.
const RETRY: Duration = Duration::from_secs(1);

pub(super) async fn run(shared: Arc<Shared>, freeze: Arc<Freeze>) {
    let made = {
        let (shared, freeze) = (shared.clone(), freeze.clone());
        spawn_blocking(move || Frost::make(&shared, &freeze)).await
    };
    let frost = match made.unwrap_or_else(|error| Err(panicked(&error))) {
        Ok(frost) => frost,
        Err(error) => {
            let rest = match &error {
                HoldError::TooSlow { took, .. } => Some(*took),
                _ => None,
            };
            clear(&shared, &freeze, rest);
            freeze.progress.send_replace(Progress::Refused(error));
            return;
        }
    };
    let span = frost.span;
    shared.metrics.frozen();
    freeze.progress.send_replace(Progress::Frozen(span));
    tracing::info!(
        hold = freeze.hold,
        volume = freeze.target.volume,
        device = %freeze.target.mount.device,
        mount_point = %freeze.target.mount.point.display(),
        took_ms = millis(span.took),
        "frozen"
    );
    let end = wait(&shared, &freeze, span).await;
    thaw(&shared, &freeze, frost, end).await;
}

/// Why a freeze ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Released,
    LimitPassed,
    Stopping,
}

async fn wait(shared: &Shared, freeze: &Freeze, span: Span) -> End {
    let mut members = freeze.members.subscribe();
    let end = tokio::select! {
        biased;
        _ = members.wait_for(|members| members.closing) => End::Released,
        () = sleep_until(span.deadline) => End::LimitPassed,
        () = shared.stop.cancelled() => End::Stopping,
    };
    let _slots = shared.slots();
    let mut expired = false;
    freeze.members.send_modify(|members| {
        members.closing = true;
        expired = members.expired;
    });
    if expired { End::LimitPassed } else { end }
}

async fn thaw(shared: &Arc<Shared>, freeze: &Arc<Freeze>, frost: Frost, end: End) {
    let span = frost.span;
    let mut frost = Some(frost);
    let mut first = true;
    while let Some(mut frozen) = frost.take() {
        let turn = freeze.clone();
        let thawed = spawn_blocking(move || {
            let _turn = turn.turn.lock().unwrap_or_else(PoisonError::into_inner);
            let result = frozen.thaw();
            (frozen, result, Instant::now())
        });
        let Ok((frozen, result, at)) = thawed.await else {
            // Frost's own drop has thawed on the way out of the panic.
            shared.metrics.thawed();
            break;
        };
        if matches!(result, Ok(()) | Err(Errno::INVAL)) {
            shared.metrics.thawed();
        }
        if first {
            report(shared, freeze, span, end, result, at);
            first = false;
        }
        if let Err(error) = result
            && error != Errno::INVAL
        {
            tracing::error!(
                hold = freeze.hold, volume = freeze.target.volume, device = %freeze.target.mount.device,
                %error, "FITHAW failed; trying again"
            );
            sleep(RETRY).await;
            frost = Some(frozen);
        }
    }
    let rest = (end == End::LimitPassed).then(|| span.started.elapsed());
    clear(shared, freeze, rest);
}

fn report(
    shared: &Shared,
    freeze: &Freeze,
    span: Span,
    end: End,
    result: Result<(), Errno>,
    at: Instant,
) {
    let frozen_for = at - span.started;
    let broken = match (end, result) {
        // The supervisor thaws what is over its limit, should this process be late.
        (End::LimitPassed, Ok(()) | Err(Errno::INVAL)) => Some(Broken::LimitPassed),
        (_, Err(Errno::INVAL)) if at >= span.deadline => Some(Broken::LimitPassed),
        (_, Err(Errno::INVAL)) => Some(Broken::ForeignThaw),
        (End::Stopping, _) => Some(Broken::Stopping),
        (End::Released | End::LimitPassed, Err(_)) => Some(Broken::ThawFailed),
        (End::Released, Ok(())) => None,
    };
    shared.metrics.ended(span.took, frozen_for, broken);
    let lost = broken.map(|broken| match (broken, result) {
        (Broken::LimitPassed, _) => format!("the limit of {:?} passed", freeze.limit),
        (Broken::ForeignThaw, _) => "thawed by someone else before the hold was let go".to_owned(),
        (Broken::Stopping, _) | (Broken::ThawFailed, Ok(())) => "the agent is stopping".to_owned(),
        (Broken::ThawFailed, Err(errno)) => format!("FITHAW: {errno}"),
    });
    let frozen_ms = millis(frozen_for);
    let (hold, volume, device) = (
        &freeze.hold,
        &freeze.target.volume,
        freeze.target.mount.device,
    );
    match &lost {
        None => tracing::info!(hold, volume, %device, frozen_ms, "thawed"),
        Some(reason) => {
            tracing::warn!(hold, volume, %device, frozen_ms, reason, "thawed before it was let go");
        }
    }
    freeze
        .progress
        .send_replace(Progress::Ended { span, at, lost });
}

fn clear(shared: &Shared, freeze: &Freeze, rest: Option<Duration>) {
    let device = freeze.target.mount.device;
    let mut slots = shared.slots();
    match rest {
        Some(rest) => slots.insert(device, Slot::Resting(Instant::now() + rest)),
        None => slots.remove(&device),
    };
    freeze.members.send_modify(|members| {
        members.closing = true;
        members.gone = true;
    });
}

fn panicked(error: &JoinError) -> HoldError {
    HoldError::Node(format!("freezing ended unexpectedly: {error}"))
}

/// Milliseconds, as the logs give them.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
