//! What a snapshot is worth.

use std::{fmt, str::FromStr, time::Duration};

/// How a filesystem on the copy will be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Consistency {
    /// Held frozen from before the PUT until Succeeded, healthy and writable.
    Filesystem,
    /// Attached nowhere, before and after.
    Unmounted,
    /// As after a power cut.
    Crash,
}

impl Consistency {
    /// Whether `freeze: required` is satisfied with it.
    pub fn is_consistent(self) -> bool {
        match self {
            Self::Filesystem | Self::Unmounted => true,
            Self::Crash => false,
        }
    }
}

impl fmt::Display for Consistency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Filesystem => "filesystem",
            Self::Unmounted => "unmounted",
            Self::Crash => "crash",
        })
    }
}

impl FromStr for Consistency {
    type Err = String;

    fn from_str(value: &str) -> Result<Self, String> {
        [Self::Filesystem, Self::Unmounted, Self::Crash]
            .into_iter()
            .find(|one| one.to_string() == value)
            .ok_or_else(|| {
                format!("`{value}` is no consistency: expected filesystem, unmounted or crash")
            })
    }
}

/// A snapshot's consistency, why, and what it cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worth {
    /// What it is.
    pub consistency: Consistency,
    /// Why, for a person: "ext4 on /mnt held from before the PUT until Succeeded".
    pub reason: String,
    /// How long the filesystem stood still; zero if it was not frozen.
    pub frozen: Duration,
}
