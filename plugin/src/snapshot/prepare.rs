//! What is done before the PUT: room in the request budget, the snapshot's tags, and who may be cut at all.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use super::{
    SnapshotError,
    attempt::{Attempt, Fixed},
    name,
};
use crate::{
    config::FreezeMode,
    hold::Standing,
    model::{Disk, SnapshotId, SnapshotSpec},
    ports::CutPermit,
    tags::{Home, Sources},
};

/// After this time a pending snapshot is swept even if its process never said how long it may take.
pub(super) const ABANDONED: Duration = Duration::from_secs(60 * 60);

/// A volume on its way.
pub(super) struct Target {
    pub(super) disk: Disk,
    /// The disk was looked up for this cut, not a moment before.
    pub(super) current: bool,
    pub(super) incremental: bool,
    pub(super) backup: BTreeMap<String, String>,
    pub(super) backup_uid: Option<String>,
    pub(super) home: Option<Home>,
}

impl Target {
    /// What its snapshots are called, as far as that is free.
    fn readable_name(&self) -> String {
        match &self.home {
            Some(home) => format!("{}-{}", home.namespace, home.claim),
            None => self.disk.id.name.clone(),
        }
    }

    pub(super) fn is_attached_nowhere(&self) -> bool {
        self.current && self.disk.attached_to.is_empty()
    }
}

impl Attempt<'_> {
    pub(super) async fn reserve(
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
    pub(super) async fn admit(
        &self,
        targets: &mut [Target],
        standings: &[Standing],
        held: bool,
    ) -> Vec<Result<(), SnapshotError>> {
        let mut admitted = Vec::with_capacity(targets.len());
        for (target, standing) in targets.iter_mut().zip(standings) {
            admitted.push(match (self.mode, standing) {
                (FreezeMode::Required, Standing::Moving { reason, mounted }) => {
                    if !target.current && !mounted && !held {
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

    pub(super) fn spec(&self, number: Option<usize>, target: &Target, hold: &str) -> SnapshotSpec {
        let settings = &self.site.location.settings;
        let until = SystemTime::now() + ABANDONED + settings.api_timeout + settings.copy_timeout;
        let sources = Sources {
            hold,
            disk: &target.disk,
            backup: &target.backup,
            backup_uid: target.backup_uid.as_deref(),
            home: target.home.as_ref(),
            location: &settings.tags,
        };
        SnapshotSpec {
            id: SnapshotId::new(
                self.site.location.snapshots(),
                name::snapshot(number, &target.readable_name(), hold),
            ),
            location: target.disk.location.clone(),
            source: target.disk.id.clone(),
            access: target.disk.properties.access(),
            incremental: target.incremental,
            tags: sources.pending(until),
        }
    }
}
