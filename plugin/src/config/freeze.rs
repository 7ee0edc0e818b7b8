//! Whether to freeze, and who may say so.

use std::{fmt, str::FromStr};

/// Whether a snapshot is taken of a frozen filesystem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FreezeMode {
    /// Freeze where that is possible, else go on crash-consistent and say so.
    Auto,
    /// No freeze, no snapshot.
    Required,
    /// Never freeze.
    Off,
}

impl FreezeMode {
    /// What holds when an annotation (`stillpoint.io/freeze`) asks for `wish`: the wish, but nobody's `off` or `auto` lowers a
    /// location's `required`.
    pub fn overridden_by(self, wish: Option<Self>) -> Self {
        match (self, wish) {
            (Self::Required, _) | (_, None) => self,
            (Self::Auto | Self::Off, Some(wish)) => wish,
        }
    }
}

impl FreezeMode {
    /// Of those who share something the strictest counts: the greater.
    pub fn strictness(self) -> u8 {
        match self {
            Self::Off => 0,
            Self::Auto => 1,
            Self::Required => 2,
        }
    }
}

impl fmt::Display for FreezeMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Required => "required",
            Self::Off => "off",
        })
    }
}

impl FromStr for FreezeMode {
    type Err = String;

    fn from_str(value: &str) -> Result<Self, String> {
        [Self::Auto, Self::Required, Self::Off]
            .into_iter()
            .find(|mode| mode.to_string() == value)
            .ok_or_else(|| format!("`{value}` is no freeze mode: expected auto, required or off"))
    }
}
