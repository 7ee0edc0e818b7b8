//! What becomes of a hold once the API server has its answer.

use std::{future::pending, pin::pin, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep_until, timeout};

use super::{
    Site,
    arm::Sight,
    attempt::Attempt,
    limits::PENANCE,
    live::{CONFIRMED_WITHIN, Live},
    metrics,
    ports::{Content, Verdict},
};
use crate::{
    config::FreezeMode,
    hold::{Attachment, Held, Standing, attachment, judge},
    model::{Consistency, Snapshot, Worth},
    ports::{AzureError, HoldEnd},
    tags::Sources,
};

/// Where nothing is frozen there is time to see what becomes of the attempt.
const PATIENCE: Duration = Duration::from_secs(600);
/// The driver looks at its snapshot once more when Azure is done; new tags wait for that.
const DRIVER_DONE_WITHIN: Duration = Duration::from_secs(60);

/// What tells that the data is fixed.
pub(super) enum Source {
    /// Azure: Succeeded.
    Azure(Box<Sight>),
    /// The content's status: a handle.
    Status,
}

/// Keeps a hold, or what stands for one that could not be, to its end.
pub(super) struct Keeper {
    /// While something is held.
    pub(super) counted: Option<metrics::Standing>,
    pub(super) live: Live,
    pub(super) attempt: Attempt,
    pub(super) mode: FreezeMode,
    pub(super) held: Held,
    pub(super) standings: Vec<Standing>,
    pub(super) source: Source,
}

/// How it ended.
#[derive(Debug)]
enum Ending {
    /// The data is fixed; as Azure shows it, if Azure was asked.
    Fixed(Option<Box<Snapshot>>),
    /// The node thawed, or the agent fell silent.
    Lost,
    /// There is nothing to hold for any more, and why.
    Over(String),
}

/// Why a hold was not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unconfirmed {
    /// Nobody knows; perhaps nobody asked.
    NotStored,
    /// Another one was, of another gate.
    Another,
}

/// Late is not forged: an API server that has much to do stores what it was answered after a while.
async fn pardon(site: Arc<Site>, attempt: Attempt, hold: String) {
    let mut changes = site.cluster.changes();
    let stored = async {
        let known = || site.cluster.content(&attempt.content)?.hold;
        while known().as_ref() != Some(&hold) {
            if changes.changed().await.is_err() {
                pending::<()>().await;
            }
        }
    };
    if timeout(PENANCE, stored).await.is_ok() {
        site.limits.pardon(&attempt.volumes);
    }
}

impl Keeper {
    pub(super) async fn run(mut self) {
        let (content, hold) = (self.attempt.content.name.clone(), self.live.hold.clone());
        if let Err(unconfirmed) = self.confirmed().await {
            self.held.release().await;
            if unconfirmed == Unconfirmed::NotStored {
                self.live.site.metrics.unconfirmed();
                self.live.site.limits.bar(&self.attempt.volumes);
                tokio::spawn(pardon(
                    Arc::clone(&self.live.site),
                    self.attempt,
                    hold.clone(),
                ));
                tracing::warn!(
                    content,
                    hold,
                    "let go: the API server did not store the hold within {CONFIRMED_WITHIN:?}, or does not tell"
                );
            }
            return;
        }
        let ending = self.ending().await;
        self.held.release().await;
        let was_held = self.counted.take().is_some();
        let worth = self.worth(&ending).await;
        report(&self.attempt, &hold, self.mode, &worth);
        if was_held {
            self.live.site.metrics.frozen(worth.frozen);
        }
        if matches!(ending, Ending::Lost) {
            self.live.site.metrics.lost();
        }
        let verdict = Verdict {
            content: self.attempt.content.clone(),
            snapshot: self.attempt.snapshot.clone(),
            hold,
            worth,
            mode: Some(self.mode),
            volumes: self.attempt.volumes.clone(),
            taken: !matches!(ending, Ending::Over(_)),
            orphan: false,
        };
        tokio::join!(self.live.site.tell(&verdict), self.tag(&ending, &verdict));
    }

    fn content(&self) -> Option<Content> {
        self.live.site.cluster.content(&self.attempt.content)
    }

    /// Returns when what is known of the content is so.
    async fn until(&self, is: impl Fn(Option<&Content>) -> bool) {
        let mut changes = self.live.site.cluster.changes();
        while !is(self.content().as_ref()) {
            if changes.changed().await.is_err() {
                pending::<()>().await;
            }
        }
    }

    /// Waits until the API server has stored our answer: it took it in time then, so before anyone could act on the content.
    async fn confirmed(&self) -> Result<(), Unconfirmed> {
        let before = self.attempt.hold_before.as_ref();
        let stored = |content: Option<&Content>| {
            let hold = content.and_then(|content| content.hold.as_ref());
            hold.is_some() && hold != before
        };
        loop {
            tokio::select! {
                biased;
                () = self.until(stored) => {}
                () = sleep_until(self.live.deadline()) => {
                    if self.live.give_up() {
                        return Err(Unconfirmed::NotStored);
                    }
                    continue;
                }
            }
            let hold = self.content().and_then(|content| content.hold);
            return if hold.as_ref() == Some(&self.live.hold) {
                self.live.confirm();
                Ok(())
            } else {
                Err(Unconfirmed::Another)
            };
        }
    }

    async fn ending(&mut self) -> Ending {
        let error_before = self.content().and_then(|content| content.error);
        let Self {
            live,
            attempt,
            held,
            source,
            ..
        } = self;
        let cluster = &live.site.cluster;
        let mut changes = cluster.changes();
        let mut asking = matches!(source, Source::Azure(_));
        let mut fixed = pin!(async {
            match source {
                Source::Azure(sight) => sight.fixed().await,
                Source::Status => pending().await,
            }
        });
        let until = Instant::now() + PATIENCE;
        loop {
            changes.mark_unchanged();
            let content = cluster.content(&attempt.content);
            if let Some(ending) = seen(content, &live.hold, asking, error_before.as_ref()) {
                return ending;
            }
            let frozen = held.is_held();
            tokio::select! {
                fixed = &mut fixed, if asking => match fixed {
                    Ok(snapshot) => return Ending::Fixed(Some(Box::new(snapshot))),
                    Err(error @ AzureError::Failed { .. }) => return Ending::Over(error.to_string()),
                    Err(error) if attempt.first => {
                        tracing::warn!(
                            content = attempt.content.name, %error,
                            "Azure does not tell; the driver's word has to do"
                        );
                        asking = false;
                    }
                    Err(error) => return Ending::Over(format!(
                        "an earlier attempt may have made the snapshot, and Azure cannot be asked: {error}"
                    )),
                },
                () = held.lost() => return Ending::Lost,
                changed = changes.changed() => if changed.is_err() {
                    return Ending::Over("the gate ends".to_owned());
                },
                () = sleep_until(until), if !frozen => {
                    return Ending::Over(format!("nothing came of the attempt within {PATIENCE:?}"));
                }
            }
        }
    }

    async fn worth(&self, ending: &Ending) -> Worth {
        let ends = (0..self.standings.len()).map(|place| self.held.end(place));
        let frozen = ends.clone().flatten().map(|end| end.frozen).max();
        let crash = |reason: &str| Worth {
            consistency: Consistency::Crash,
            reason: reason.to_owned(),
            frozen: frozen.unwrap_or_default(),
        };
        if let Ending::Over(reason) = ending {
            return crash(reason);
        }
        let mut worths = Vec::new();
        for (standing, end) in self.standings.iter().zip(ends) {
            worths.push(self.worth_of(standing, end).await);
        }
        let of = |consistency| worths.iter().find(|worth| worth.consistency == consistency);
        let worst = of(Consistency::Crash)
            .or(of(Consistency::Filesystem))
            .or(worths.first());
        let Some(worst) = worst else {
            return crash("no volume was held");
        };
        match ending {
            Ending::Lost if worst.consistency != Consistency::Crash => {
                crash("the hold was lost before the data was fixed")
            }
            Ending::Fixed(Some(snapshot)) if self.is_of_another(snapshot) => {
                crash("the snapshot was made of another disk")
            }
            Ending::Fixed(_) | Ending::Lost | Ending::Over(_) => Worth {
                frozen: frozen.unwrap_or_default(),
                ..worst.clone()
            },
        }
    }

    async fn worth_of(&self, standing: &Standing, end: Option<&HoldEnd>) -> Worth {
        let Source::Azure(sight) = &self.source else {
            return judge(0, standing, end, &Attachment::Attached);
        };
        let look = match standing {
            Standing::Still { .. } => sight.disk.is_shareable(),
            Standing::Moving { mounted, .. } => !mounted && sight.is_attached_nowhere(),
        };
        let attached = if look {
            match sight.disk_again().await {
                Ok(after) => attachment(&sight.disk, &after),
                Err(error) => Attachment::Changed(format!("its attachment is not known: {error}")),
            }
        } else {
            Attachment::Attached
        };
        judge(sight.disk.attached_to.len(), standing, end, &attached)
    }

    fn is_of_another(&self, snapshot: &Snapshot) -> bool {
        let Source::Azure(sight) = &self.source else {
            return false;
        };
        snapshot.source.as_ref() != Some(&sight.disk.id)
    }

    async fn tag(&self, ending: &Ending, verdict: &Verdict) {
        let (Source::Azure(sight), Ending::Fixed(Some(snapshot))) = (&self.source, ending) else {
            return;
        };
        let done = |content: Option<&Content>| content.is_none_or(|content| content.created);
        let _ = timeout(DRIVER_DONE_WITHIN, self.until(done)).await;
        let sources = Sources {
            hold: &verdict.hold,
            disk: &sight.disk,
            backup: &snapshot.tags,
            backup_uid: None,
            home: None,
            location: &Default::default(),
        };
        sight.tag(sources.complete(&verdict.worth)).await;
    }
}

/// What the content tells of the attempt's end. `asking`: Azure tells when the data is fixed.
fn seen(
    content: Option<Content>,
    hold: &str,
    asking: bool,
    error_before: Option<&String>,
) -> Option<Ending> {
    let over = |reason: &str| Some(Ending::Over(reason.to_owned()));
    let Some(content) = content else {
        return over("the content was deleted");
    };
    if content.hold.as_deref() != Some(hold) {
        return over("another attempt began");
    }
    if content.created {
        return (!asking).then_some(Ending::Fixed(None));
    }
    // An old error stays until success.
    let error = content.error.filter(|error| Some(error) != error_before);
    match error {
        Some(error) if !asking || !content.being_created => {
            over(&format!("the driver's attempt failed: {error}"))
        }
        None if !content.being_created => over("the driver's attempt failed"),
        Some(_) | None => None,
    }
}

fn report(attempt: &Attempt, hold: &str, mode: FreezeMode, worth: &Worth) {
    let (content, snapshot) = (&attempt.content.name, &attempt.snapshot.name);
    let namespace = &attempt.snapshot.namespace;
    let frozen_ms = u64::try_from(worth.frozen.as_millis()).unwrap_or(u64::MAX);
    let (consistency, reason) = (worth.consistency, &worth.reason);
    if consistency == Consistency::Crash {
        tracing::warn!(
            content, namespace, snapshot, hold, %mode, %consistency, frozen_ms, %reason,
            "the snapshot is crash-consistent only"
        );
    } else {
        tracing::info!(
            content, namespace, snapshot, hold, %mode, %consistency, frozen_ms, %reason, "snapshot held"
        );
    }
}
