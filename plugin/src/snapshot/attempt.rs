//! One attempt: reserve, hold, cut, thaw. What it leaves is either fixed snapshots or nothing.

use std::time::{Duration, SystemTime};

use futures::future::join_all;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{
    SnapshotError, Snapshots,
    cleanup::Leftovers,
    cut::{Cut, Loss, Remains},
    held::{Held, Standing},
    name,
    process::AtWork,
};
use crate::{
    config::FreezeMode,
    model::{Disk, DiskId, Snapshot, SnapshotId, SnapshotSpec},
    ports::{AzureError, CutPermit, HoldEnd},
    tags::Sources,
};

/// After this time a pending snapshot is swept even if its process never said how long it may take.
pub(super) const ABANDONED: Duration = Duration::from_secs(60 * 60);

/// A volume on its way.
pub(super) struct Target {
    pub(super) disk: Disk,
    /// The disk was looked up for this cut, not a moment before.
    pub(super) current: bool,
    pub(super) incremental: bool,
    pub(super) backup: std::collections::BTreeMap<String, String>,
}

/// A snapshot whose data is fixed.
pub(super) struct Fixed {
    pub(super) snapshot: Snapshot,
    pub(super) hold: String,
    pub(super) standing: Standing,
    pub(super) end: Option<HoldEnd>,
    pub(super) permit: CutPermit,
    pub(super) at_work: std::sync::Arc<AtWork>,
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
        let hold = name::hold();
        let at_work = std::sync::Arc::new(self.site.process.begin(&hold));
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
        let specs: Vec<_> = targets
            .iter()
            .map(|target| self.spec(target, &hold))
            .collect();
        let volumes: Vec<DiskId> = targets
            .iter()
            .map(|target| target.disk.id.clone())
            .collect();
        let begun = tokio::select! {
            begun = Held::begin(
                &*self.site.holder, self.mode, &hold, &volumes, settings.freeze_timeout,
            ) => begun,
            () = self.cancel.cancelled() => return Outcome::Ended(self.cancelled(targets)),
        };
        let (mut held, standings) = begun;
        let admitted = self.admit(targets, &standings, &held).await;

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
                            at_work: std::sync::Arc::clone(&at_work),
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

    async fn reserve(
        &self,
        targets: &[Target],
    ) -> Result<Vec<CutPermit>, Vec<Result<Fixed, SnapshotError>>> {
        let group = self.site.location.snapshots();
        let mut permits = Vec::with_capacity(targets.len());
        for _ in targets {
            let reserved = tokio::select! {
                reserved = self.site.azure.reserve_cut(&group) => reserved,
                () = self.cancel.cancelled() => return Err(self.cancelled(targets)),
            };
            permits.push(reserved.map_err(|error| {
                let failed =
                    |target: &Target| Err(SnapshotError::of_disk(&target.disk.id, error.clone()));
                targets.iter().map(failed).collect::<Vec<_>>()
            })?);
        }
        Ok(permits)
    }

    /// Who may be cut as things stand. `required` takes a volume that is not frozen only if it is attached nowhere.
    async fn admit(
        &self,
        targets: &mut [Target],
        standings: &[Standing],
        held: &Held,
    ) -> Vec<Result<(), SnapshotError>> {
        let mut admitted = Vec::with_capacity(targets.len());
        for (target, standing) in targets.iter_mut().zip(standings) {
            admitted.push(match (self.mode, standing) {
                (FreezeMode::Required, Standing::Moving { reason, mounted }) => {
                    if !target.current && !mounted && !held.is_held() {
                        match self.site.look_up(&target.disk.id).await {
                            Ok(disk) => (target.disk, target.current) = (disk, true),
                            Err(error) => {
                                admitted.push(Err(error));
                                continue;
                            }
                        }
                    }
                    if target.is_attached_nowhere() && !mounted {
                        Ok(())
                    } else {
                        Err(SnapshotError::NotFrozen {
                            disk: target.disk.id.clone(),
                            reason: reason.clone(),
                        })
                    }
                }
                (FreezeMode::Required | FreezeMode::Auto | FreezeMode::Off, _) => Ok(()),
            });
        }
        admitted
    }

    fn spec(&self, target: &Target, hold: &str) -> SnapshotSpec {
        let settings = &self.site.location.settings;
        let until = SystemTime::now() + ABANDONED + settings.api_timeout + settings.copy_timeout;
        let sources = Sources {
            hold,
            disk: &target.disk,
            backup: &target.backup,
            location: &settings.tags,
        };
        SnapshotSpec {
            id: SnapshotId::new(
                self.site.location.snapshots(),
                name::snapshot(&target.disk.id.name, hold),
            ),
            location: target.disk.location.clone(),
            source: target.disk.id.clone(),
            incremental: target.incremental,
            tags: sources.pending(until),
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

    fn cancelled(&self, targets: &[Target]) -> Vec<Result<Fixed, SnapshotError>> {
        let cancelled = |target: &Target| {
            Err(SnapshotError::Cancelled {
                disk: target.disk.id.clone(),
            })
        };
        targets.iter().map(cancelled).collect()
    }
}

impl Target {
    pub(super) fn is_attached_nowhere(&self) -> bool {
        self.current && self.disk.attached_to.is_empty()
    }
}

fn restartable(cut: &Result<Snapshot, Loss>) -> Option<AzureError> {
    cut.as_ref()
        .err()
        .filter(|loss| loss.again)
        .and_then(|loss| loss.error.clone())
}
