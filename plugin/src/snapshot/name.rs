//! Names of snapshots. Fresh for each hold, so what is found under a name is of that hold or nobody's.

use crate::model::SnapshotName;

/// Azure's limit for a snapshot's name.
const LONGEST: usize = 80;

/// The name of the snapshot that is cut of that disk under that hold: as much of the disk's name as fits, and the hold's ID.
/// Disks held together have numbers: their names may be the same, in other groups or as far as they fit.
pub(super) fn snapshot(number: Option<usize>, disk: &str, hold: &str) -> SnapshotName {
    let readable = LONGEST - hold.len().min(LONGEST - 1) - 1;
    let allowed = |c: char| {
        if c.is_ascii_alphanumeric() || "_-.".contains(c) {
            c
        } else {
            '-'
        }
    };
    let numbered = number.map_or_else(|| disk.to_owned(), |number| format!("{number}-{disk}"));
    let disk: String = numbered.chars().map(allowed).take(readable).collect();
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
        assert_eq!(snapshot(None, "pvc-1", "h"), "pvc-1-h");
        assert_eq!(snapshot(None, "(ü)", "h"), "h");
    }

    #[test]
    fn disks_held_together_have_names_of_their_own() {
        let long = "pvc-".repeat(20);
        for (one, other) in [
            ("data", "data"),
            ("2-data", "data"),
            (&long, &(long.clone() + "x")),
        ] {
            assert_ne!(snapshot(Some(1), one, "h"), snapshot(Some(2), other, "h"));
        }
    }

    proptest! {
        #[test]
        fn azure_takes_every_name(number in prop::option::of(1usize..500), disk in "\\PC{0,100}") {
            let hold = crate::hold::fresh_id();
            let name = snapshot(number, &disk, &hold);
            prop_assert!(name.len() <= LONGEST);
            prop_assert!(name.ends_with(&hold));
            prop_assert!(name.starts_with(|c: char| c.is_ascii_alphanumeric()));
            prop_assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c)));
        }
    }
}
