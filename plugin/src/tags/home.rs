//! Where a snapshot's volume was at home in Kubernetes: by this a snapshot is found, and brought back, without its cluster.

use std::collections::BTreeMap;

use super::rules::{TagSet, find, find_long};
use crate::model::Zone;

const CLUSTER: &str = "stillpoint-cluster";
const NAMESPACE: &str = "stillpoint-namespace";
const CLAIM: &str = "stillpoint-pvc";
const VOLUME: &str = "stillpoint-pv";
const CLASS: &str = "stillpoint-storage-class";
const CAPACITY: &str = "stillpoint-capacity";
const ACCESS: &str = "stillpoint-access-modes";
const MODE: &str = "stillpoint-volume-mode";
const FILESYSTEM: &str = "stillpoint-filesystem";
const ZONE: &str = "stillpoint-zone";
const LABELS: &str = "stillpoint-labels";
const BLOCK: &str = "Block";

/// A claim and its volume.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Home {
    /// The cluster: the UID of its namespace `kube-system`; `None` if nobody could tell.
    pub cluster: Option<String>,
    /// The claim's namespace.
    pub namespace: String,
    /// The PersistentVolumeClaim.
    pub claim: String,
    /// The PersistentVolume.
    pub volume: String,
    /// Empty if it is of no class.
    pub storage_class: String,
    /// As the PersistentVolume says it: `32Gi`.
    pub capacity: String,
    /// `ReadWriteOnce` and so on.
    pub access_modes: Vec<String>,
    /// Pods have it as a raw device.
    pub block: bool,
    /// `ext4`, `xfs`, …; `None` if the PersistentVolume does not say.
    pub filesystem: Option<String>,
    /// `None` if it was in none.
    pub zone: Option<Zone>,
    /// The claim's.
    pub labels: BTreeMap<String, String>,
}

impl Home {
    /// What the tags of a snapshot say; `None` if nobody wrote it down.
    pub fn read(tags: &BTreeMap<String, String>) -> Option<Self> {
        let text = |key| find(tags, key).unwrap_or_default().to_owned();
        let labels = find_long(tags, LABELS).unwrap_or_default();
        let labels = labels.split(',').filter_map(|one| one.split_once('='));
        let modes = text(ACCESS);
        let modes = modes.split(',').filter(|mode| !mode.is_empty());
        Some(Self {
            namespace: find(tags, NAMESPACE)?.to_owned(),
            claim: find(tags, CLAIM)?.to_owned(),
            cluster: find(tags, CLUSTER).map(str::to_owned),
            volume: text(VOLUME),
            storage_class: text(CLASS),
            capacity: text(CAPACITY),
            access_modes: modes.map(str::to_owned).collect(),
            block: find(tags, MODE) == Some(BLOCK),
            filesystem: find(tags, FILESYSTEM).map(str::to_owned),
            zone: find(tags, ZONE).and_then(|zone| zone.parse().ok()),
            labels: labels
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
        })
    }
}

pub(super) fn write(home: &Home, tags: &mut TagSet) {
    let zone = home.zone.as_ref().map(Zone::to_string);
    let optional = [
        (CLUSTER, home.cluster.as_deref()),
        (MODE, home.block.then_some(BLOCK)),
        (FILESYSTEM, home.filesystem.as_deref()),
        (ZONE, zone.as_deref()),
    ];
    for (key, value) in [
        (NAMESPACE, home.namespace.as_str()),
        (CLAIM, &home.claim),
        (VOLUME, &home.volume),
        (CLASS, &home.storage_class),
        (CAPACITY, &home.capacity),
        (ACCESS, &home.access_modes.join(",")),
    ] {
        tags.offer(key, value);
    }
    for (key, value) in optional {
        if let Some(value) = value {
            tags.offer(key, value);
        }
    }
    if !home.labels.is_empty() {
        // Neither has a comma or an equals sign in Kubernetes.
        let labels = home.labels.iter();
        let labels: Vec<_> = labels
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        tags.offer_long(LABELS, &labels.join(","));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_round_trips() {
        let label = |number| (format!("example.com/label-{number}"), "v".repeat(63));
        for home in [
            Home {
                namespace: "shop".into(),
                claim: "data".into(),
                capacity: "4Gi".into(),
                ..Home::default()
            },
            Home {
                cluster: Some("uid".into()),
                namespace: "shop".into(),
                claim: "data-db-0".into(),
                volume: "pvc-1".into(),
                storage_class: "managed-csi".into(),
                capacity: "32Gi".into(),
                access_modes: vec!["ReadWriteOnce".into(), "ReadOnlyMany".into()],
                block: true,
                filesystem: Some("xfs".into()),
                zone: Some("westeurope-2".parse().unwrap()),
                labels: (0..9).map(label).collect(),
            },
        ] {
            let mut tags = TagSet::default();
            write(&home, &mut tags);
            assert_eq!(Home::read(&tags.into_map()), Some(home));
        }
        assert_eq!(Home::read(&BTreeMap::new()), None);
    }
}
