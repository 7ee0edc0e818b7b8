//! Availability zones as Kubernetes names them: `<region>-<number>`.

use std::{fmt, str::FromStr};

/// A region's name as Kubernetes has it, `westeurope`: Azure also answers `West Europe`.
pub fn region(location: &str) -> String {
    let letters = location.chars().filter(|c| !c.is_whitespace());
    letters.collect::<String>().to_ascii_lowercase()
}

/// A text that names no zone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a zone: expected <region>-<number>, such as westeurope-1")]
pub struct InvalidZone(String);

/// A zone of a region.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Zone {
    /// The region, in lower case without spaces: `westeurope`.
    pub region: String,
    /// What Azure calls the zone within the region: `1`.
    pub number: String,
}

impl FromStr for Zone {
    type Err = InvalidZone;

    fn from_str(value: &str) -> Result<Self, InvalidZone> {
        let invalid = || InvalidZone(value.to_owned());
        let (region, number) = value.rsplit_once('-').ok_or_else(invalid)?;
        let region_fits = !region.is_empty() && region.chars().all(|c| c.is_ascii_alphanumeric());
        let number_fits =
            number.parse::<u8>().is_ok_and(|n| n > 0) && !number.starts_with(['0', '+']);
        if region_fits && number_fits {
            Ok(Self {
                region: region.to_ascii_lowercase(),
                number: number.to_owned(),
            })
        } else {
            Err(invalid())
        }
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.region, self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_round_trip() {
        for value in ["westeurope-1", "eastus2-3"] {
            assert_eq!(value.parse::<Zone>().unwrap().to_string(), value);
        }
    }

    #[test]
    fn what_is_no_zone_is_refused() {
        for value in [
            "",
            "2",
            "westeurope",
            "westeurope-",
            "westeurope-0",
            "-1",
            "a-+1",
            "a-01",
        ] {
            assert!(value.parse::<Zone>().is_err(), "{value}");
        }
    }
}
