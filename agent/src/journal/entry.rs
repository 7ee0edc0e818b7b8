//! One entry: a line of JSON that says what and where, and a line for each state that the freeze has reached.
//!
//! ```text
//! intent ──► freezing ──► frozen
//! ```
//!
//! What the next to come makes of it:
//! - `intent`: FIFREEZE was not called. Whatever is frozen there was frozen by someone else: nothing to thaw.
//! - `freezing`: FIFREEZE was called and its outcome is not known. A refusal (EBUSY) returns at once and removes the
//!   entry, a freeze takes time: it is thawed as ours.
//! - `frozen`: ours.

use std::{fmt, path::PathBuf, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::mountinfo::Device;

/// How far a freeze had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Intent,
    Freezing,
    Frozen,
}

impl State {
    const AFTER_INTENT: [Self; 2] = [Self::Freezing, Self::Frozen];
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Intent => "intent",
            Self::Freezing => "freezing",
            Self::Frozen => "frozen",
        })
    }
}

/// What is, or was going to be, frozen. Names the device beside the path: paths change, and a filesystem that was
/// unmounted while frozen has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) device: Device,
    pub(crate) mount_point: PathBuf,
    pub(crate) filesystem: String,
    pub(crate) source: PathBuf,
    pub(crate) hold: String,
    pub(crate) volume: String,
    /// Seconds since 1970, for people.
    pub(crate) since: u64,
    /// The kernel that froze it, by its boot ID.
    pub(crate) boot: String,
    /// The number of the block device's instance; a device that comes later at the same major:minor has another.
    pub(crate) sequence: Option<u64>,
    pub(crate) state: State,
}

#[derive(Serialize, Deserialize)]
struct Line {
    device: String,
    mount_point: Bytes,
    filesystem: String,
    source: Bytes,
    hold: String,
    volume: String,
    since: u64,
    boot: String,
    sequence: Option<u64>,
}

/// A path; text if it is UTF-8.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Bytes {
    Text(String),
    Raw(Vec<u8>),
}

impl From<&PathBuf> for Bytes {
    fn from(path: &PathBuf) -> Self {
        use std::os::unix::ffi::OsStrExt as _;
        match path.to_str() {
            Some(text) => Self::Text(text.to_owned()),
            None => Self::Raw(path.as_os_str().as_bytes().to_vec()),
        }
    }
}

impl From<Bytes> for PathBuf {
    fn from(bytes: Bytes) -> Self {
        use std::os::unix::ffi::OsStringExt as _;
        match bytes {
            Bytes::Text(text) => text.into(),
            Bytes::Raw(raw) => std::ffi::OsString::from_vec(raw).into(),
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = Line {
            device: self.device.to_string(),
            mount_point: (&self.mount_point).into(),
            filesystem: self.filesystem.clone(),
            source: (&self.source).into(),
            hold: self.hold.clone(),
            volume: self.volume.clone(),
            since: self.since,
            boot: self.boot.clone(),
            sequence: self.sequence,
        };
        let json = serde_json::to_string(&line).map_err(|_| fmt::Error)?;
        writeln!(f, "{json}")?;
        for state in State::AFTER_INTENT {
            if self.state == State::Frozen || self.state == state {
                writeln!(f, "{state}")?;
            }
        }
        Ok(())
    }
}

/// Not a whole entry.
#[derive(Debug)]
pub(crate) struct Broken;

impl FromStr for Entry {
    type Err = Broken;

    fn from_str(text: &str) -> Result<Self, Broken> {
        let (line, states) = text.split_once('\n').ok_or(Broken)?;
        let line: Line = serde_json::from_str(line).map_err(|_| Broken)?;
        // A state that was cut off has not been reached.
        let reached = |state: State| states.contains(&format!("{state}\n"));
        Ok(Self {
            device: line.device.parse().map_err(|_| Broken)?,
            mount_point: line.mount_point.into(),
            filesystem: line.filesystem,
            source: line.source.into(),
            hold: line.hold,
            volume: line.volume,
            since: line.since,
            boot: line.boot,
            sequence: line.sequence,
            state: State::AFTER_INTENT
                .into_iter()
                .rev()
                .find(|state| reached(*state))
                .unwrap_or(State::Intent),
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use proptest::prelude::*;

    use super::*;

    pub(in crate::journal) fn entry(state: State) -> Entry {
        Entry {
            device: Device { major: 7, minor: 3 },
            mount_point: "/mnt/a b".into(),
            filesystem: "ext4".into(),
            source: "/dev/loop3".into(),
            hold: "h".into(),
            volume: "/subscriptions/s".into(),
            since: 1_700_000_000,
            boot: "b".into(),
            sequence: Some(12),
            state,
        }
    }

    proptest! {
        #[test]
        fn any_entry_round_trips(
            path in proptest::collection::vec(1_u8.., 0..40),
            hold in "\\PC*",
            volume in any::<String>(),
            sequence in any::<Option<u64>>(),
            major in any::<u32>(),
            state in proptest::sample::select(&[State::Intent, State::Freezing, State::Frozen][..]),
        ) {
            let whole = Entry {
                device: Device { major, minor: 1 },
                mount_point: std::ffi::OsString::from_vec(path).into(),
                hold,
                volume,
                sequence,
                ..entry(state)
            };
            prop_assert_eq!(whole.to_string().parse::<Entry>().unwrap(), whole);
        }

        #[test]
        fn a_cut_entry_never_claims_more_than_was_reached(cut in 0_usize..1000) {
            let text = entry(State::Frozen).to_string();
            let cut = &text[..cut.min(text.len())];
            if let Ok(read) = cut.parse::<Entry>() {
                prop_assert_eq!(read.state == State::Frozen, cut.ends_with("frozen\n"));
            }
        }
    }
}
