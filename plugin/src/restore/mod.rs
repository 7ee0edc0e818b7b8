//! Disks from snapshots, ours and the stock plugin's, and the truth about them for their PVs.
//!
//! ```text
//!  snapshot ─► finished? ─► record ─► SKU, zone, properties ─► copied ─► disk ─► remembered ─► PV
//!                │             │             │                    │        │
//!             pending,      changed      other region,         failed   failed: deleted
//!             failed        by hand      sectors, …
//! ```

mod error;
mod performance;
mod placement;
mod properties;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::Value;
use tokio_util::sync::CancellationToken;

pub use error::RestoreError;

use crate::{
    config::Location,
    model::{DiskId, DiskSpec, ProvisioningState, Sku, Snapshot, SnapshotId, Zone, region},
    ports::{Azure, AzureError},
    pv::{self, PvError, RestoredDisk},
    tags::{self, Marks, Origin},
};

/// The restores of one location.
#[derive(Clone)]
pub struct Restores {
    location: Arc<Location>,
    azure: Arc<dyn Azure>,
    memory: Arc<Memory>,
}

/// What one process remembers of the disks it made; shared by all locations.
#[derive(Default)]
pub struct Memory(Mutex<HashMap<DiskId, RestoredDisk>>);

/// What Velero asks for.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The snapshot's ID.
    pub snapshot: String,
    /// The SKU that Velero kept; may be empty.
    pub volume_type: String,
    /// The zone that Velero kept: `westeurope-1`, a bare number, `0` or nothing.
    pub zone: String,
    /// The IOPS that Velero kept.
    pub iops: Option<i64>,
    /// Where the disk is to be, whatever was kept or is mapped.
    pub place: Option<Place>,
    /// The SKU that it is to have, whatever was kept or is mapped.
    pub sku: Option<Sku>,
    /// How its name begins; `restore` if nobody minds.
    pub name: Option<String>,
}

/// Where somebody wants a disk to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In that zone.
    Zone(Zone),
    /// In no zone, for machines that are in none.
    Region,
}

/// A disk that could be made.
#[derive(Clone, Debug)]
pub struct Prepared {
    snapshot: Snapshot,
    spec: DiskSpec,
    zone: Option<Zone>,
    original: Sku,
}

impl Prepared {
    /// The snapshot.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// What it would be.
    pub fn disk(&self) -> RestoredDisk {
        RestoredDisk {
            id: self.spec.id.clone(),
            region: region(&self.spec.location),
            zone: self.zone.clone(),
            origin: Origin::read(&self.spec.tags),
            properties: self.spec.properties.clone(),
        }
    }
}

/// Why a PV was not brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum SetVolumeError {
    /// Nothing is known of the disk.
    #[error(transparent)]
    Disk(#[from] RestoreError),
    /// The PV is not one of ours.
    #[error(transparent)]
    Pv(#[from] PvError),
}

impl Restores {
    /// The restores of that location.
    pub fn new(location: Arc<Location>, azure: Arc<dyn Azure>, memory: Arc<Memory>) -> Self {
        Self {
            location,
            azure,
            memory,
        }
    }

    /// Makes a disk from a snapshot and waits until it is there.
    ///
    /// Must run to its end: a caller that goes away cancels the token and lets this finish, which deletes what there is.
    ///
    /// # Errors
    /// See [`RestoreError`].
    pub async fn restore(
        &self,
        request: &Request,
        cancel: &CancellationToken,
    ) -> Result<DiskId, RestoreError> {
        let prepared = self.prepare(request).await?;
        self.make(&prepared, cancel).await
    }

    /// Looks at the snapshot and decides what disk it becomes. Makes nothing.
    ///
    /// # Errors
    /// See [`RestoreError`].
    pub async fn prepare(&self, request: &Request) -> Result<Prepared, RestoreError> {
        let id: SnapshotId = request
            .snapshot
            .parse()
            .map_err(RestoreError::InvalidSnapshot)?;
        let snapshot = self.azure.snapshot(&id).await;
        let snapshot = snapshot.map_err(|error| RestoreError::azure(&id, error))?;
        let (spec, zone, original) = self.plan(request, &snapshot)?;
        Ok(Prepared {
            snapshot,
            spec,
            zone,
            original,
        })
    }

    /// Makes that disk and waits until it is there.
    ///
    /// Must run to its end, as [`Self::restore`].
    ///
    /// # Errors
    /// See [`RestoreError`].
    pub async fn make(
        &self,
        prepared: &Prepared,
        cancel: &CancellationToken,
    ) -> Result<DiskId, RestoreError> {
        let Prepared {
            snapshot,
            spec,
            zone,
            original,
        } = prepared;
        self.wait_for_copy(snapshot, original, cancel).await?;
        let disk = self.create(spec, &snapshot.id, cancel).await?;
        tracing::info!(
            disk = %disk, snapshot = %snapshot.id, sku = %spec.properties.sku,
            zone = zone.as_ref().map(Zone::to_string).unwrap_or_default(), "disk restored"
        );
        self.remember(RestoredDisk {
            id: disk.clone(),
            ..prepared.disk()
        });
        Ok(disk)
    }

    /// Makes a PV tell the truth about a restored disk.
    ///
    /// # Errors
    /// If the PV or the ID is not one of ours, or Azure does not tell about the disk.
    pub async fn set_volume(&self, pv: Value, volume: &str) -> Result<Value, SetVolumeError> {
        let disk = self.restored(volume).await?;
        Ok(pv::set_volume(
            pv,
            &disk,
            self.location.settings.convert_to_csi,
        )?)
    }

    /// What is known of a restored disk: remembered, or asked of Azure by a process that did not make it.
    ///
    /// # Errors
    /// If the ID is none, or Azure does not tell.
    pub async fn restored(&self, volume: &str) -> Result<RestoredDisk, RestoreError> {
        let id = self
            .location
            .restored_disk(volume)
            .map_err(RestoreError::InvalidVolume)?;
        let memory = self
            .memory
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&id)
            .cloned();
        if let Some(disk) = memory {
            return Ok(disk);
        }
        let disk = self.azure.disk(&id).await;
        Ok(RestoredDisk::from(
            disk.map_err(|error| RestoreError::azure(&id, error))?,
        ))
    }

    fn remember(&self, disk: RestoredDisk) {
        let mut memory = self.memory.0.lock().unwrap_or_else(PoisonError::into_inner);
        memory.insert(disk.id.clone(), disk);
    }

    /// What is to be made, its zone, and what the original was.
    fn plan(
        &self,
        request: &Request,
        snapshot: &Snapshot,
    ) -> Result<(DiskSpec, Option<Zone>, Sku), RestoreError> {
        let id = &snapshot.id;
        let unfinished = |state: String| {
            Err(RestoreError::Unfinished {
                snapshot: id.clone(),
                state,
            })
        };
        match &snapshot.state {
            ProvisioningState::Succeeded if Marks::read(&snapshot.tags).pending => {
                return unfinished("marked pending, so its backup never finished".to_owned());
            }
            ProvisioningState::Succeeded => {}
            ProvisioningState::Running(state) | ProvisioningState::Failed(state) => {
                return unfinished(state.clone());
            }
        }
        let record = tags::disk_record(&snapshot.tags);
        let record = record.map_err(|source| RestoreError::Record {
            snapshot: id.clone(),
            source: Box::new(source),
        })?;
        let recorded = record.as_ref().map(|disk| disk.sku.clone());
        let kept = Some(request.volume_type.trim())
            .filter(|kept| !kept.is_empty())
            .map(Sku::new);
        let original = recorded.or(kept).ok_or_else(|| RestoreError::NoSku {
            snapshot: id.clone(),
        })?;
        let sku = request
            .sku
            .clone()
            .unwrap_or_else(|| self.location.mapped(&original));
        let zone = placement::Wish {
            snapshot: id,
            location: &snapshot.location,
            record: record.as_ref(),
            zone: &request.zone,
            place: request.place.as_ref(),
            mapping: &self.location.settings.zone_mapping,
            sku: &sku,
        }
        .zone()?;
        let iops = request.iops.filter(|iops| *iops > 0);
        let wish = properties::Wish {
            snapshot,
            record,
            original: original.clone(),
            sku,
            iops,
        };
        let mut properties = wish.properties()?;
        properties.zones = zone.iter().map(|zone| zone.number.clone()).collect();
        let spec = DiskSpec {
            id: DiskId::new(
                self.location.restored(),
                format!(
                    "{}-{}",
                    request.name.as_deref().unwrap_or("restore"),
                    uuid::Uuid::new_v4()
                ),
            ),
            location: snapshot.location.clone(),
            source: id.clone(),
            gibibytes: None,
            properties,
            tags: tags::of_restored_disk(snapshot),
        };
        Ok((spec, zone, original))
    }

    /// Until their background copy is done nothing can be made from snapshots of PremiumV2 and Ultra (409).
    async fn wait_for_copy(
        &self,
        snapshot: &Snapshot,
        original: &Sku,
        cancel: &CancellationToken,
    ) -> Result<(), RestoreError> {
        let copied = snapshot.completion_percent.unwrap_or(100.0);
        if copied >= 100.0 || !original.copies_in_background() {
            return Ok(());
        }
        let id = &snapshot.id;
        tracing::info!(snapshot = %id, percent = copied, "waiting for the snapshot's background copy");
        tokio::select! {
            done = self.azure.copied(id) => done.map_err(|error| RestoreError::azure(id, error)),
            () = cancel.cancelled() => Err(RestoreError::Cancelled { snapshot: id.clone() }),
        }
    }

    async fn create(
        &self,
        spec: &DiskSpec,
        snapshot: &SnapshotId,
        cancel: &CancellationToken,
    ) -> Result<DiskId, RestoreError> {
        // Not interrupted: a disk whose PUT is on its way can only be deleted once it is there.
        let made = self.azure.create_disk(spec).await;
        if cancel.is_cancelled() {
            self.clean_up(&spec.id).await;
            return Err(RestoreError::Cancelled {
                snapshot: snapshot.clone(),
            });
        }
        match made {
            Ok(disk) => Ok(disk),
            Err(error) => {
                let may_be_there = match &error {
                    AzureError::Failed { .. }
                    | AzureError::Unanswered { .. }
                    | AzureError::Conflict { .. } => true,
                    AzureError::NotFound { .. }
                    | AzureError::Throttled { .. }
                    | AzureError::Refused { .. }
                    | AzureError::Credentials(_) => false,
                };
                if may_be_there {
                    self.clean_up(&spec.id).await;
                }
                Err(RestoreError::azure(
                    format!("disk {} from {snapshot}", spec.id.name),
                    error,
                ))
            }
        }
    }

    async fn clean_up(&self, disk: &DiskId) {
        if let Err(error) = self.azure.delete_disk(disk).await {
            tracing::warn!(disk = %disk, %error, "a disk that failed could not be deleted: delete it by hand");
        }
    }
}

#[cfg(test)]
mod tests;
