//! Managed disks: what is read of one, and what is asked of Azure for a new one.

use std::{collections::BTreeMap, fmt};

use super::{DiskId, SnapshotId};

/// A disk SKU, such as `Premium_LRS`. Azure adds some now and then, so any name is kept; compared without case.
#[derive(Clone, Debug)]
pub struct Sku(String);

impl Sku {
    /// The SKU of that name.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// Replicated over the zones of its region, so it lives in none of them.
    pub fn is_zone_redundant(&self) -> bool {
        self.0.to_ascii_uppercase().ends_with("_ZRS")
    }

    /// Premium SSD v2 and Ultra: incremental snapshots only, copied in the background.
    pub fn copies_in_background(&self) -> bool {
        ["PremiumV2_LRS", "UltraSSD_LRS"]
            .iter()
            .any(|name| self.0.eq_ignore_ascii_case(name))
    }

    /// Ultra: its bounds of speed are others than Premium SSD v2's.
    pub fn is_ultra(&self) -> bool {
        self.0.eq_ignore_ascii_case("UltraSSD_LRS")
    }

    /// Its name, as Azure spelt it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl PartialEq for Sku {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Sku {}

impl fmt::Display for Sku {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A managed disk as Azure describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Disk {
    /// Its resource ID, as Azure spells it.
    pub id: DiskId,
    /// Distinguishes it from a later disk of the same name.
    pub unique_id: String,
    /// Region.
    pub location: String,
    /// Size.
    pub gibibytes: u32,
    /// IDs of the machines that it is attached to; none if it is attached nowhere.
    pub attached_to: Vec<String>,
    /// The user's tags.
    pub tags: BTreeMap<String, String>,
    /// What a snapshot of it would not remember.
    pub properties: DiskProperties,
}

impl Disk {
    /// Whether it can be attached to several machines at once.
    pub fn is_shareable(&self) -> bool {
        self.properties.max_shares.is_some_and(|most| most > 1)
    }
}

/// The properties of a disk that its snapshot does not remember; `None` where Azure reports none.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "Azure's own names")]
pub struct DiskProperties {
    pub sku: Sku,
    /// At most one in practice: `1`.
    pub zones: Vec<String>,
    pub tier: Option<String>,
    pub bursting: Option<bool>,
    pub iops_read_write: Option<i64>,
    /// MB/s, as Azure counts them.
    pub mbps_read_write: Option<i64>,
    pub iops_read_only: Option<i64>,
    pub mbps_read_only: Option<i64>,
    pub max_shares: Option<i32>,
    pub optimized_for_frequent_attach: Option<bool>,
    pub performance_plus: Option<bool>,
    /// 512 or 4096 bytes.
    pub logical_sector_size: Option<i32>,
    pub network_access_policy: Option<String>,
    pub disk_access: Option<String>,
    pub public_network_access: Option<String>,
    pub data_access_auth_mode: Option<String>,
    pub encryption: Option<Encryption>,
}

impl DiskProperties {
    /// Who may export its data: a snapshot of it should be no easier to export.
    pub fn access(&self) -> Access {
        Access {
            network_access_policy: self.network_access_policy.clone(),
            disk_access: self.disk_access.clone(),
            public_network_access: self.public_network_access.clone(),
            data_access_auth_mode: self.data_access_auth_mode.clone(),
        }
    }
}

/// Who may export the data of a disk or snapshot, and over which network; `None`: Azure's default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "Azure's own names")]
pub struct Access {
    pub network_access_policy: Option<String>,
    pub disk_access: Option<String>,
    pub public_network_access: Option<String>,
    pub data_access_auth_mode: Option<String>,
}

/// Encryption at rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encryption {
    /// `EncryptionAtRestWithCustomerKey` and others.
    pub kind: Option<String>,
    /// Resource ID of the disk encryption set.
    pub set: Option<String>,
}

/// A disk to be made from a snapshot.
#[derive(Clone, Debug, PartialEq)]
pub struct DiskSpec {
    /// Where, and its name.
    pub id: DiskId,
    /// Region: that of the snapshot.
    pub location: String,
    /// What it is made from.
    pub source: SnapshotId,
    /// `None`: the snapshot's own size.
    pub gibibytes: Option<u32>,
    /// Everything else; its zones are those of the new disk.
    pub properties: DiskProperties,
    /// Within Azure's rules.
    pub tags: BTreeMap<String, String>,
}
