//! Stillpoint's tags on snapshots and on the disks made from them: the one place that writes and reads them.
//!
//! On a snapshot: what it is worth (`stillpoint-consistency`, `-reason`, `-frozen-ms`), how it was taken (`-hold`, `-state`,
//! `-pending-until`, and for which backup, `-backup-uid`), what it does not remember of its disk
//! (`stillpoint-disk-<property>`), which tags are the backup's and not the disk's (`-backup-tags`; those that begin with
//! `velero.io-` always are), where it was at home in Kubernetes ([`Home`]), and the disk's tags that the backup's hide (`stillpoint-disk-tag-<key>`). Then the tags of
//! the backup, of the location, and of the disk.
//!
//! On a restored disk: `stillpoint-from-snapshot`, `-from-consistency`, `-from-reason`, and the original disk's tags.
//! These never come onto a snapshot of that disk.

mod home;
mod record;
mod rules;

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

pub use home::Home;
pub use rules::check;

use crate::model::{Consistency, Disk, DiskProperties, Snapshot, SnapshotId, Worth};
use rules::{TagSet, find, find_long, has_prefix, key};

type Tags = BTreeMap<String, String>;

const PREFIX: &str = "stillpoint-";
const CONSISTENCY: &str = "stillpoint-consistency";
const REASON: &str = "stillpoint-reason";
const FROZEN: &str = "stillpoint-frozen-ms";
const HOLD: &str = "stillpoint-hold";
const STATE: &str = "stillpoint-state";
const PENDING_UNTIL: &str = "stillpoint-pending-until";
const BACKUP_UID: &str = "stillpoint-backup-uid";
const BACKUP_TAGS: &str = "stillpoint-backup-tags";
const HIDDEN: &str = "stillpoint-disk-tag-";
const FROM_SNAPSHOT: &str = "stillpoint-from-snapshot";
const FROM_CONSISTENCY: &str = "stillpoint-from-consistency";
const FROM_REASON: &str = "stillpoint-from-reason";

const PENDING: &str = "pending";
const COMPLETE: &str = "complete";
const VELERO: &str = "velero.io-";

/// The CSI driver's tags, which name the claim that the disk was made for.
const DRIVERS: [&str; 2] = ["k8s-azure-created-by", "kubernetes.io-created-for-"];

/// A tag of ours with a value that we did not write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its tag `{key}` is `{value}`, expected {expected}: correct or remove that tag")]
pub struct InvalidTag {
    key: &'static str,
    value: String,
    expected: &'static str,
}

/// Where the tags of a snapshot come from.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    /// The hold that the snapshot is cut under.
    pub hold: &'a str,
    /// What it is cut from.
    pub disk: &'a Disk,
    /// Velero's tags and the backup's labels.
    pub backup: &'a Tags,
    /// The UID of Velero's Backup, if it is known.
    pub backup_uid: Option<&'a str>,
    /// Where its volume is at home, if the claim is known that it is of.
    pub home: Option<&'a Home>,
    /// The location's.
    pub location: &'a Tags,
}

impl Sources<'_> {
    /// The tags of a snapshot that is being cut: crash-consistent for all that is known. Until that time somebody may
    /// still be at work on it.
    pub fn pending(&self, until: SystemTime) -> Tags {
        let until = jiff::Timestamp::try_from(until).unwrap_or(jiff::Timestamp::MAX);
        self.all(&[
            (CONSISTENCY, Consistency::Crash.to_string()),
            (STATE, PENDING.to_owned()),
            (PENDING_UNTIL, format!("{until:.0}")),
        ])
    }

    /// The tags of a snapshot that is done.
    pub fn complete(&self, worth: &Worth) -> Tags {
        self.all(&[
            (CONSISTENCY, worth.consistency.to_string()),
            (STATE, COMPLETE.to_owned()),
            (REASON, worth.reason.clone()),
            (FROZEN, worth.frozen.as_millis().to_string()),
        ])
    }

    fn all(&self, marks: &[(&str, String)]) -> Tags {
        let mut tags = TagSet::default();
        tags.offer(HOLD, self.hold);
        marks.iter().for_each(|(key, value)| tags.offer(key, value));
        if let Some(uid) = self.backup_uid {
            tags.offer(BACKUP_UID, uid);
        }
        record::write(&self.disk.properties, &mut tags);
        if let Some(home) = self.home {
            home::write(home, &mut tags);
        }
        let others: Vec<(String, &String)> = self
            .backup
            .iter()
            .chain(self.location)
            .map(|(name, value)| (key(name), value))
            .filter(|(key, _)| !has_prefix(key, PREFIX))
            .collect();
        let listed: Vec<&str> = others
            .iter()
            .map(|(key, _)| key.as_str())
            .filter(|key| !has_prefix(key, VELERO))
            .collect();
        if !listed.is_empty() {
            tags.offer_long(BACKUP_TAGS, &listed.join(","));
        }
        others
            .iter()
            .for_each(|(key, value)| tags.offer(key, value));
        let own = self
            .disk
            .tags
            .iter()
            .filter(|(key, _)| !has_prefix(key, PREFIX));
        // The driver's own last: they never come onto another disk.
        let (drivers, own): (Vec<_>, Vec<_>) = own.partition(|(key, _)| is_drivers(key));
        for (name, value) in own {
            match others
                .iter()
                .find(|(other, _)| other.eq_ignore_ascii_case(name))
            {
                Some(_) if has_prefix(name, VELERO) => {}
                Some(_) => tags.offer(&format!("{HIDDEN}{name}"), value),
                None => tags.offer(name, value),
            }
        }
        drivers
            .into_iter()
            .for_each(|(key, value)| tags.offer(key, value));
        tags.into_map()
    }
}

/// What our tags say of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marks {
    /// The hold that it was cut under; `None` if it is not ours.
    pub hold: Option<String>,
    /// Whether it was never finished.
    pub pending: bool,
    /// The time after which nobody is at work on it any more.
    pub pending_until: Option<SystemTime>,
    /// The UID of Velero's Backup that asked for it.
    pub backup_uid: Option<String>,
    /// What it is worth.
    pub worth: Option<Worth>,
}

impl Marks {
    /// Reads the tags of a snapshot, ours or not. Values that are not ours read as if absent.
    pub fn read(tags: &Tags) -> Self {
        let worth = find(tags, CONSISTENCY).and_then(|text| text.parse().ok());
        let frozen = find(tags, FROZEN).and_then(|text| text.parse().ok());
        let until = find(tags, PENDING_UNTIL).and_then(|text| text.parse::<jiff::Timestamp>().ok());
        Self {
            hold: find(tags, HOLD).map(str::to_owned),
            pending: find(tags, STATE) == Some(PENDING),
            pending_until: until.map(SystemTime::from),
            backup_uid: find(tags, BACKUP_UID).map(str::to_owned),
            worth: worth.map(|consistency| Worth {
                consistency,
                reason: find(tags, REASON).unwrap_or_default().to_owned(),
                frozen: Duration::from_millis(frozen.unwrap_or_default()),
            }),
        }
    }
}

/// What the snapshot's disk was like; `None` if it has no record, as those of the stock plugin.
///
/// # Errors
/// If someone changed a tag into what it cannot be.
pub fn disk_record(tags: &Tags) -> Result<Option<DiskProperties>, InvalidTag> {
    record::read(tags)
}

/// The tags of a disk made from the snapshot: those of the original disk and where it comes from.
pub fn of_restored_disk(snapshot: &Snapshot) -> Tags {
    let listed = find_long(&snapshot.tags, BACKUP_TAGS).unwrap_or_default();
    let is_backups = |key: &str| {
        has_prefix(key, VELERO)
            || listed
                .split(',')
                .any(|other| other.eq_ignore_ascii_case(key))
    };
    let mut tags = TagSet::default();
    tags.offer_long(FROM_SNAPSHOT, &snapshot.id.to_string());
    if let Some(worth) = Marks::read(&snapshot.tags).worth {
        tags.offer(FROM_CONSISTENCY, &worth.consistency.to_string());
        tags.offer(FROM_REASON, &worth.reason);
    }
    for (key, value) in &snapshot.tags {
        if has_prefix(key, HIDDEN) {
            tags.offer(&key[HIDDEN.len()..], value);
        } else if !has_prefix(key, PREFIX) && !is_backups(key) && !is_drivers(key) {
            tags.offer(key, value);
        }
    }
    tags.into_map()
}

/// Where a restored disk comes from, by its tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// What that was worth, if it was known.
    pub consistency: Option<Consistency>,
    /// Why.
    pub reason: String,
}

impl Origin {
    /// Reads the tags of a disk; `None` if no restore of ours made it.
    pub fn read(tags: &Tags) -> Option<Self> {
        Some(Self {
            snapshot: find_long(tags, FROM_SNAPSHOT)?.parse().ok()?,
            consistency: find(tags, FROM_CONSISTENCY).and_then(|text| text.parse().ok()),
            reason: find(tags, FROM_REASON).unwrap_or_default().to_owned(),
        })
    }
}

fn is_drivers(key: &str) -> bool {
    DRIVERS.iter().any(|prefix| has_prefix(key, prefix))
}

#[cfg(test)]
mod tests;
