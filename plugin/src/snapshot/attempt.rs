//! One attempt: reserve, hold, cut, thaw. What it leaves is either fixed snapshots or nothing.

use std::sync::Arc;

use futures::future::join_all;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{
    SnapshotError, Snapshots,
    cleanup::Leftovers,
    cut::{Cut, Loss, Remains},
    prepare::Target,
    process::AtWork,
};
use crate::{
    config::FreezeMode,
    hold::{self, Held, Standing},
    model::{Snapshot, SnapshotSpec, VolumeId},
    ports::{AzureError, CutPermit, HoldEnd, Stage},
};

/// A snapshot whose data is fixed.
pub(super) struct Fixed {
    pub(super) snapshot: Snapshot,
    pub(super) hold: String,
    pub(super) standing: Standing,
    pub(super) end: Option<HoldEnd>,
    pub(super) permit: CutPermit,
    pub(super) at_work: Arc<AtWork>,
}

pub(super) enum Outcome {
    /// One a target, in their order.
    Ended(Vec<Result<Fixed, SnapshotError>>),
    /// Nothing is frozen, nothing is left; a new attempt may succeed.
    Again(AzureError),
}

/// What ended all cuts of an attempt early.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stopped {
    Cancelled,
    NotHeld,
    TimedOut,
}

pub(super) struct Attempt<'a> {
    pub(super) site: &'a Snapshots,
    pub(super) mode: FreezeMode,
    pub(super) cancel: &'a CancellationToken,
    /// Set by the first attempt, when it has room to begin.
    pub(super) deadline: &'a mut Option<Instant>,
    pub(super) leftovers: &'a mut Leftovers,
}

impl Attempt<'_> {
    pub(super) async fn run(mut self, targets: &mut [Target]) -> Outcome {
        let hold = hold::fresh_id();
        let at_work = Arc::new(self.site.process.begin(&hold));
        let permits = match self.reserve(targets).await {
            Ok(permits) => permits,
            Err(errors) => return Outcome::Ended(errors),
        };
        let settings = &self.site.location.settings;
        let timeout = settings.api_timeout;
        let deadline = *self
            .deadline
            .get_or_insert_with(|| Instant::now() + timeout);
        // Built before the freeze: nothing but the PUT is left to do once it holds.
        let number = |place| (targets.len() > 1).then_some(place + 1);
        let specs = targets.iter().enumerate();
        let specs: Vec<_> = specs
            .map(|(place, target)| self.spec(number(place), target, &hold))
            .collect();
        let volumes: Vec<VolumeId> = targets
            .iter()
            .map(|target| target.disk.id.clone().into())
            .collect();
        self.all_reached(targets, |_| Stage::Freezing);
        let begun = tokio::select! {
            begun = Held::begin(
                &*self.site.holder, self.mode, &hold, &volumes, settings.freeze_timeout,
            ) => begun,
            () = self.cancel.cancelled() => return Outcome::Ended(self.cancelled(targets)),
        };
        let (mut held, standings) = begun;
        let admitted = self.admit(targets, &standings, held.is_held()).await;

        self.all_reached(targets, |place| match standings.get(place) {
            Some(Standing::Still { .. }) => Stage::Frozen,
            Some(Standing::Moving { .. }) | None => Stage::Cutting,
        });
        let stop = CancellationToken::new();
        let cuts = specs
            .iter()
            .zip(&permits)
            .zip(&admitted)
            .map(|((spec, permit), admitted)| {
                let azure = &*self.site.azure;
                let cut = Cut {
                    azure,
                    permit,
                    spec,
                    hold: &hold,
                    stop: &stop,
                };
                async move {
                    match admitted {
                        Ok(()) => Some(cut.run().await),
                        Err(_) => None,
                    }
                }
            });
        let (cuts, stopped) = self.watch(join_all(cuts), &mut held, &stop, deadline).await;
        self.all_reached(targets, |_| Stage::Thawed);

        if stopped.is_none()
            && let Some(error) = cuts.iter().flatten().find_map(restartable)
        {
            self.discard(cuts.iter().zip(&specs)).await;
            return Outcome::Again(error);
        }
        let keeps = |cut: &Option<Result<Snapshot, Loss>>| match stopped {
            Some(Stopped::Cancelled | Stopped::NotHeld) => false,
            Some(Stopped::TimedOut) | None => matches!(cut, Some(Ok(_))),
        };
        self.discard(cuts.iter().zip(&specs).filter(|(cut, _)| !keeps(cut)))
            .await;

        let parts = cuts
            .into_iter()
            .zip(admitted)
            .zip(targets)
            .zip(standings)
            .zip(permits);
        let results =
            parts
                .enumerate()
                .map(|(place, ((((cut, admitted), target), standing), permit))| {
                    admitted?;
                    let disk = || target.disk.id.clone();
                    let end = held.end(place).cloned();
                    match (stopped, cut) {
                        (Some(Stopped::Cancelled), _) | (None, None) => {
                            Err(SnapshotError::Cancelled { disk: disk() })
                        }
                        (Some(Stopped::NotHeld), _) => {
                            let reason = end.and_then(|end| end.held.err());
                            let reason = reason.unwrap_or_else(|| {
                                "the hold of another volume was lost".to_owned()
                            });
                            Err(SnapshotError::NotHeld {
                                disk: disk(),
                                reason,
                            })
                        }
                        (_, Some(Ok(snapshot))) => Ok(Fixed {
                            snapshot,
                            hold: hold.clone(),
                            standing,
                            end,
                            permit,
                            at_work: Arc::clone(&at_work),
                        }),
                        (
                            _,
                            Some(Err(Loss {
                                error: Some(error), ..
                            })),
                        ) => Err(SnapshotError::of_disk(&target.disk.id, error)),
                        (_, Some(Err(Loss { error: None, .. })) | None) => {
                            Err(SnapshotError::TimedOut {
                                disk: disk(),
                                after: timeout,
                            })
                        }
                    }
                });
        Outcome::Ended(results.collect())
    }

    /// Runs the cuts and thaws: when all are done, or as soon as anything says so.
    async fn watch<T>(
        &self,
        cuts: impl Future<Output = T>,
        held: &mut Held,
        stop: &CancellationToken,
        deadline: Instant,
    ) -> (T, Option<Stopped>) {
        let mut cuts = std::pin::pin!(cuts);
        let mut stopped = None;
        let cuts = loop {
            tokio::select! {
                biased;
                cuts = &mut cuts => break cuts,
                () = self.cancel.cancelled(), if stopped.is_none() => {
                    stopped = Some(Stopped::Cancelled);
                    stop.cancel();
                }
                () = held.lost() => {
                    held.release().await;
                    if self.mode == FreezeMode::Required && stopped.is_none() {
                        stopped = Some(Stopped::NotHeld);
                        stop.cancel();
                    }
                }
                () = stop.cancelled(), if held.is_held() => held.release().await,
                () = sleep_until(deadline), if stopped.is_none() => {
                    stopped = Some(Stopped::TimedOut);
                    stop.cancel();
                }
            }
        };
        held.release().await;
        (cuts, stopped)
    }

    fn all_reached(&self, targets: &[Target], stage: impl Fn(usize) -> Stage) {
        for (place, target) in targets.iter().enumerate() {
            self.site.reached(&target.disk.id, stage(place));
        }
    }

    async fn discard<'c>(
        &mut self,
        cuts: impl Iterator<Item = (&'c Option<Result<Snapshot, Loss>>, &'c SnapshotSpec)>,
    ) {
        let (mut there, mut maybe) = (Vec::new(), Vec::new());
        for (cut, spec) in cuts {
            let remains = match cut {
                None => Remains::Nothing,
                Some(Ok(_)) => Remains::Snapshot,
                Some(Err(loss)) => loss.remains,
            };
            match remains {
                Remains::Nothing => {}
                Remains::Maybe => maybe.push(spec.id.clone()),
                Remains::Snapshot => there.push(spec.id.clone()),
            }
        }
        self.leftovers.delete(&*self.site.azure, there, maybe).await;
    }

    pub(super) fn cancelled(&self, targets: &[Target]) -> Vec<Result<Fixed, SnapshotError>> {
        let cancelled = |target: &Target| {
            Err(SnapshotError::Cancelled {
                disk: target.disk.id.clone(),
            })
        };
        targets.iter().map(cancelled).collect()
    }
}

fn restartable(cut: &Result<Snapshot, Loss>) -> Option<AzureError> {
    cut.as_ref()
        .err()
        .filter(|loss| loss.again)
        .and_then(|loss| loss.error.clone())
}
