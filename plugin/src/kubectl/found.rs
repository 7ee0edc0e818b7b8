//! Snapshots as a person looks for them: by name, by claim, by age. Pure.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use crate::{
    model::{ProvisioningState, Snapshot},
    tags::{Home, Marks},
};

/// Velero's tag with its backup's name, as Azure has it.
const BACKUP: &str = "velero.io-backup";

/// A snapshot, and what its tags say.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) snapshot: Snapshot,
    pub(super) home: Option<Home>,
    pub(super) marks: Marks,
}

impl Found {
    pub(super) fn new(snapshot: Snapshot) -> Self {
        Self {
            home: Home::read(&snapshot.tags),
            marks: Marks::read(&snapshot.tags),
            snapshot,
        }
    }

    pub(super) fn is_finished(&self) -> bool {
        self.snapshot.state == ProvisioningState::Succeeded && !self.marks.pending
    }

    /// Its filesystem is whole.
    fn is_consistent(&self) -> bool {
        let worth = self.marks.worth.as_ref();
        self.is_finished() && worth.is_some_and(|worth| worth.consistency.is_consistent())
    }

    pub(super) fn state(&self) -> String {
        match &self.snapshot.state {
            ProvisioningState::Succeeded if self.marks.pending => "Pending".to_owned(),
            ProvisioningState::Succeeded => match self.snapshot.completion_percent {
                Some(percent) if percent < 100.0 => format!("Copying {percent:.0}%"),
                Some(_) | None => "Ready".to_owned(),
            },
            ProvisioningState::Running(state) | ProvisioningState::Failed(state) => state.clone(),
        }
    }

    pub(super) fn age(&self, now: SystemTime) -> Option<Duration> {
        now.duration_since(self.snapshot.created?).ok()
    }

    /// The backup of Velero's that it is of.
    pub(super) fn backup(&self) -> Option<&str> {
        let mut tags = self.snapshot.tags.iter();
        let named = tags.find(|(key, _)| key.eq_ignore_ascii_case(BACKUP));
        named.map(|(_, name)| name.as_str())
    }

    pub(super) fn is_of(&self, namespace: &str, claim: &str) -> bool {
        let home = self.home.as_ref();
        home.is_some_and(|home| home.namespace == namespace && home.claim == claim)
    }

    fn is_from(&self, cluster: &str) -> bool {
        let home = self.home.as_ref();
        home.is_some_and(|home| home.cluster.as_deref() == Some(cluster))
    }
}

/// Newest first.
pub(super) fn sort(found: &mut [Found]) {
    found.sort_by(|a, b| {
        let by_name = || a.snapshot.id.name.cmp(&b.snapshot.id.name);
        b.snapshot
            .created
            .cmp(&a.snapshot.created)
            .then_with(by_name)
    });
}

/// The newest finished snapshot of a claim. Of another cluster's claim of that name only if no more than one cluster has
/// any.
pub(super) fn latest(
    mut found: Vec<Found>,
    namespace: &str,
    claim: &str,
    cluster: Option<&str>,
) -> Result<Found, String> {
    found.retain(|one| one.is_of(namespace, claim) && one.is_finished());
    sort(&mut found);
    let own = cluster.and_then(|cluster| found.iter().position(|one| one.is_from(cluster)));
    if let Some(own) = own {
        return Ok(found.swap_remove(own));
    }
    let of = |one: &Found| one.home.as_ref().and_then(|home| home.cluster.clone());
    let mut clusters: Vec<_> = found.iter().map(of).collect();
    clusters.sort_unstable();
    clusters.dedup();
    match (found.is_empty(), clusters.len()) {
        (true, _) => Err(format!(
            "there is no finished snapshot of {namespace}/{claim}: kubectl stillpoint snapshots -A lists what there is"
        )),
        (false, 1) => Ok(found.swap_remove(0)),
        (false, _) => {
            let names: Vec<_> = found
                .iter()
                .map(|one| one.snapshot.id.name.as_str())
                .collect();
            Err(format!(
                "this cluster has no snapshot of {namespace}/{claim}, but several others have: name one of {}",
                names.join(", ")
            ))
        }
    }
}

/// Which of a cluster's snapshots are to go: of each claim all but the newest `keep`, if `is_old`. What Velero has taken
/// and what is in the making is left alone, and the newest consistent one of a claim always stays.
pub(super) fn superfluous(
    mut found: Vec<Found>,
    cluster: &str,
    keep: u16,
    is_old: impl Fn(&Found) -> bool,
) -> Vec<Found> {
    found.retain(|one| one.is_from(cluster) && one.backup().is_none() && one.is_finished());
    sort(&mut found);
    let mut claims: BTreeMap<(String, String), Vec<Found>> = BTreeMap::new();
    for one in found {
        if let Some(home) = &one.home {
            let claim = (home.namespace.clone(), home.claim.clone());
            claims.entry(claim).or_default().push(one);
        }
    }
    let mut go = Vec::new();
    for snapshots in claims.into_values() {
        let best = snapshots.iter().position(Found::is_consistent);
        let beyond = snapshots.into_iter().enumerate().skip(keep.into());
        let beyond = beyond.filter(|(place, _)| Some(*place) != best);
        go.extend(beyond.map(|(_, one)| one).filter(|one| is_old(one)));
    }
    go
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ResourceGroup, SnapshotId};

    const DAY: Duration = Duration::from_secs(86_400);

    /// `name cluster claim consistency days-old`
    fn found(text: &str) -> Found {
        let words: Vec<_> = text.split(' ').collect();
        let [name, cluster, claim, consistency, days] = words[..] else {
            panic!("{text}");
        };
        let tags = [
            ("stillpoint-cluster", cluster),
            ("stillpoint-namespace", "shop"),
            ("stillpoint-pvc", claim),
            ("stillpoint-consistency", consistency),
            (
                "stillpoint-state",
                if consistency == "pending" {
                    "pending"
                } else {
                    "complete"
                },
            ),
            (
                if name.starts_with("velero") {
                    BACKUP
                } else {
                    "team"
                },
                "nightly",
            ),
        ];
        let days: u32 = days.parse().unwrap();
        let group = ResourceGroup {
            subscription: "s".into(),
            name: "backups".into(),
        };
        Found::new(Snapshot {
            id: SnapshotId::new(group, name),
            location: "westeurope".into(),
            state: ProvisioningState::Succeeded,
            completion_percent: None,
            created: Some(SystemTime::UNIX_EPOCH + DAY * (100 - days)),
            source: None,
            source_unique_id: None,
            gibibytes: Some(4),
            logical_sector_size: None,
            incremental: true,
            tags: tags
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
        })
    }

    fn all(lines: &[&str]) -> Vec<Found> {
        lines.iter().map(|line| found(line)).collect()
    }

    #[test]
    fn the_latest_is_this_cluster_s_if_it_has_any() {
        let mixed = [
            "a one data filesystem 5",
            "b two data filesystem 1",
            "c one data pending 0",
        ];
        for (lines, cluster, expected) in [
            (&mixed[..], Some("one"), Ok("a")),
            (&mixed[..], Some("two"), Ok("b")),
            (&mixed[1..2], Some("one"), Ok("b")),
            (&mixed[1..2], None, Ok("b")),
            (&mixed[..], Some("three"), Err("name one of b, a")),
            (&mixed[2..], Some("one"), Err("no finished snapshot")),
        ] {
            let latest = latest(all(lines), "shop", "data", cluster);
            match (latest, expected) {
                (Ok(found), Ok(name)) => assert_eq!(found.snapshot.id.name, name),
                (Err(error), Err(part)) => assert!(error.contains(part), "{error}"),
                (seen, expected) => panic!("{cluster:?}: {seen:?}, not {expected:?}"),
            }
        }
    }

    #[test]
    fn what_goes_is_old_superfluous_and_ours() {
        let lines = [
            "new one data crash 0",
            "good one data filesystem 40",
            "old one data filesystem 50",
            "older one data crash 60",
            "other two data filesystem 70",
            "velero one data filesystem 80",
            "making one data pending 90",
            "single one log crash 95",
        ];
        let names = |keep, days: u32| -> Vec<String> {
            let is_old =
                |one: &Found| one.age(SystemTime::UNIX_EPOCH + DAY * 100).unwrap() > DAY * days;
            let go = superfluous(all(&lines), "one", keep, is_old);
            go.into_iter().map(|one| one.snapshot.id.name).collect()
        };
        assert_eq!(names(1, 0), ["old", "older"]);
        assert_eq!(names(3, 0), ["older"]);
        assert_eq!(names(1, 55), ["older"]);
        assert_eq!(names(4, 0), [""; 0]);
    }
}
