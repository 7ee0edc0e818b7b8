//! What the new disk is like: as the original, within what its SKU allows.

use super::{RestoreError, performance::carried_over};
use crate::model::{DiskProperties, Sku, Snapshot};

/// What decides on the properties.
pub(super) struct Wish<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) record: Option<DiskProperties>,
    /// What the original was.
    pub(super) original: Sku,
    /// What is to be made.
    pub(super) sku: Sku,
    /// The IOPS that Velero kept.
    pub(super) iops: Option<i64>,
}

impl Wish<'_> {
    pub(super) fn properties(self) -> Result<DiskProperties, RestoreError> {
        let provisioned = self.sku.copies_in_background();
        let logical_sector_size = self.sector_size(provisioned)?;
        let iops = self.iops;
        let size = self.snapshot.gibibytes;
        let known = self
            .record
            .unwrap_or_else(|| nothing_known(self.original.clone()));
        let same = self.sku == self.original;
        let premium = is_premium(&self.sku) && (same || is_premium(&self.original));
        let sharable = !is(&self.sku, &["Standard_LRS"]);
        let (iops_read_write, mbps_read_write) = match (provisioned, same) {
            // Elsewhere they follow from size and tier, and Azure refuses them.
            (false, _) => (None, None),
            (true, true) => (known.iops_read_write.or(iops), known.mbps_read_write),
            (true, false) => carried_over(&known, &self.sku, size),
        };
        Ok(DiskProperties {
            // The caller's: see `placement`.
            zones: Vec::new(),
            tier: known.tier.filter(|_| premium),
            bursting: known.bursting.filter(|_| premium),
            iops_read_write,
            mbps_read_write,
            iops_read_only: known.iops_read_only.filter(|_| provisioned && same),
            mbps_read_only: known.mbps_read_only.filter(|_| provisioned && same),
            max_shares: known.max_shares.filter(|_| sharable),
            optimized_for_frequent_attach: known.optimized_for_frequent_attach,
            performance_plus: known.performance_plus.filter(|_| !provisioned),
            logical_sector_size,
            network_access_policy: known.network_access_policy,
            disk_access: known.disk_access,
            public_network_access: known.public_network_access,
            data_access_auth_mode: known.data_access_auth_mode,
            encryption: known.encryption,
            sku: self.sku,
        })
    }

    /// The snapshot's sectors stay; a new PremiumV2 or Ultra disk would have 4096 bytes unless told.
    fn sector_size(&self, provisioned: bool) -> Result<Option<i32>, RestoreError> {
        let recorded = self
            .record
            .as_ref()
            .and_then(|disk| disk.logical_sector_size);
        let sector = self.snapshot.logical_sector_size.or(recorded);
        match sector {
            Some(sector) if sector != 512 && !provisioned => Err(RestoreError::SectorSize {
                snapshot: self.snapshot.id.clone(),
                sector,
                sku: self.sku.clone(),
            }),
            Some(_) if provisioned => Ok(sector),
            None if provisioned && !self.original.copies_in_background() => Ok(Some(512)),
            Some(_) | None => Ok(None),
        }
    }
}

fn is(sku: &Sku, names: &[&str]) -> bool {
    names
        .iter()
        .any(|name| sku.as_str().eq_ignore_ascii_case(name))
}

/// Tiers and bursting on demand are Premium SSD's.
fn is_premium(sku: &Sku) -> bool {
    is(sku, &["Premium_LRS", "Premium_ZRS"])
}

fn nothing_known(sku: Sku) -> DiskProperties {
    DiskProperties {
        sku,
        zones: Vec::new(),
        tier: None,
        bursting: None,
        iops_read_write: None,
        mbps_read_write: None,
        iops_read_only: None,
        mbps_read_only: None,
        max_shares: None,
        optimized_for_frequent_attach: None,
        performance_plus: None,
        logical_sector_size: None,
        network_access_policy: None,
        disk_access: None,
        public_network_access: None,
        data_access_auth_mode: None,
        encryption: None,
    }
}
