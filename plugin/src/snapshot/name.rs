//! Names of holds and snapshots. Fresh for each hold, so what is found under a name is of that hold or nobody's.

use crate::model::SnapshotName;

/// Azure's limit for a snapshot's name.
const LONGEST: usize = 80;

/// A hold's ID.
pub(super) fn hold() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// The name of the snapshot that is cut of that disk under that hold: as much of the disk's name as fits, and the hold's ID.
pub(super) fn snapshot(disk: &str, hold: &str) -> SnapshotName {
    let readable = LONGEST - hold.len().min(LONGEST - 1) - 1;
    let allowed = |c: char| {
        if c.is_ascii_alphanumeric() || "_-.".contains(c) {
            c
        } else {
            '-'
        }
    };
    let disk: String = disk.chars().map(allowed).take(readable).collect();
    let disk = disk
        .trim_start_matches(['-', '.', '_'])
        .trim_end_matches(['-', '.']);
    if disk.is_empty() {
        hold.to_owned()
    } else {
        format!("{disk}-{hold}")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_disks_name_is_readable() {
        assert_eq!(snapshot("pvc-1", "h"), "pvc-1-h");
        assert_eq!(snapshot("(ü)", "h"), "h");
    }

    proptest! {
        #[test]
        fn azure_takes_every_name(disk in "\\PC{0,100}") {
            let hold = hold();
            let name = snapshot(&disk, &hold);
            prop_assert!(name.len() <= LONGEST);
            prop_assert!(name.ends_with(&hold));
            prop_assert!(name.starts_with(|c: char| c.is_ascii_alphanumeric()));
            prop_assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c)));
        }
    }
}
