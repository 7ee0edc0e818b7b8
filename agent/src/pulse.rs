//! Whether supervisor and worker are awake: the worker beats, the supervisor answers each beat.
//!
//! A worker that does not beat is replaced; one that is not answered freezes nothing, for nobody would thaw after it.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use tokio::time::{MissedTickBehavior, interval};

use crate::control::{Control, monotonic};

/// Between two beats.
const BEAT: Duration = Duration::from_secs(1);
/// Silence of the supervisor after which nothing is frozen any more.
const SILENCE: Duration = Duration::from_secs(5);

/// The worker's view of its supervisor.
#[derive(Debug)]
pub(crate) struct Pulse {
    /// Milliseconds on `CLOCK_MONOTONIC`.
    heard: AtomicU64,
    awaited: AtomicBool,
}

impl Pulse {
    pub(crate) fn new() -> Self {
        Self {
            heard: AtomicU64::new(now()),
            awaited: AtomicBool::new(false),
        }
    }

    /// Beats from a task, for that shows whether tasks run; hears answers in a thread, which ends with `gone` when the
    /// supervisor does.
    pub(crate) fn keep(
        self: &Arc<Self>,
        control: &Arc<Control>,
        gone: impl FnOnce() + Send + 'static,
    ) -> io::Result<()> {
        let (pulse, ear) = (self.clone(), control.clone());
        thread::Builder::new()
            .name("supervisor".into())
            .stack_size(64 * 1024)
            .spawn(move || {
                while ear.hear() {
                    pulse.heard.store(now(), Relaxed);
                    pulse.awaited.store(false, Relaxed);
                }
                gone();
            })?;
        let (pulse, control) = (self.clone(), control.clone());
        tokio::spawn(async move {
            let mut beats = interval(BEAT);
            beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                beats.tick().await;
                // None while the last one is unanswered: a supervisor that sleeps is not to find a thousand.
                if !pulse.awaited.swap(true, Relaxed) && control.beat().is_err() {
                    pulse.awaited.store(false, Relaxed);
                }
            }
        });
        Ok(())
    }

    /// An error if the supervisor is silent.
    pub(crate) fn check(&self) -> Result<(), String> {
        let silence = Duration::from_millis(now().saturating_sub(self.heard.load(Relaxed)));
        if silence < SILENCE {
            return Ok(());
        }
        Err(format!(
            "it has not answered for {silence:.1?}, and would not thaw after this process"
        ))
    }
}

fn now() -> u64 {
    u64::try_from(monotonic().as_millis()).unwrap_or(u64::MAX)
}
