//! In which zone a disk is made.

use std::collections::BTreeMap;

use super::{Place, RestoreError};
use crate::model::{DiskProperties, Sku, SnapshotId, Zone, region};

/// What decides on the zone.
pub(super) struct Wish<'a> {
    pub(super) snapshot: &'a SnapshotId,
    /// The snapshot's region.
    pub(super) location: &'a str,
    /// What the snapshot records of its disk.
    pub(super) record: Option<&'a DiskProperties>,
    /// Velero's zone: `westeurope-1`, a bare number, `0` or nothing.
    pub(super) zone: &'a str,
    /// What somebody asks for instead.
    pub(super) place: Option<&'a Place>,
    pub(super) mapping: &'a BTreeMap<Zone, Zone>,
    /// The SKU to be made.
    pub(super) sku: &'a Sku,
}

impl Wish<'_> {
    /// The zone of the new disk; `None` if it gets none.
    pub(super) fn zone(&self) -> Result<Option<Zone>, RestoreError> {
        let region = region(self.location);
        let mapped = match self.place {
            Some(Place::Zone(zone)) => Some(zone.clone()),
            Some(Place::Region) => None,
            None => {
                let wished = self.wished()?;
                wished.map(|zone| self.mapping.get(&zone).cloned().unwrap_or(zone))
            }
        };
        match mapped {
            Some(zone) if zone.region != region => Err(RestoreError::OtherRegion {
                snapshot: self.snapshot.clone(),
                location: region,
                zone: zone.to_string(),
            }),
            Some(_) if self.sku.is_zone_redundant() => Ok(None),
            zone => Ok(zone),
        }
    }

    /// Before any mapping.
    fn wished(&self) -> Result<Option<Zone>, RestoreError> {
        let zone = self.zone.trim();
        let numbered = |number: &str| Zone {
            region: region(self.location),
            number: number.to_owned(),
        };
        if let Ok(zone) = zone.parse::<Zone>() {
            return Ok(Some(zone));
        }
        let number = match zone {
            "" => 0,
            number => number
                .parse::<u8>()
                .map_err(|_| RestoreError::InvalidZone {
                    zone: self.zone.to_owned(),
                })?,
        };
        // Kubernetes numbers the fault domains of machines without a zone: 0, 1, 2.
        match self.record {
            Some(disk) => Ok(disk.zones.first().map(|zone| numbered(zone))),
            None if number == 0 => Ok(None),
            None => Ok(Some(numbered(&number.to_string()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::ResourceGroup, snapshot::fake};

    fn zone(given: &str, recorded: Option<&[&str]>, sku: &str) -> Result<Option<String>, String> {
        let group = ResourceGroup {
            subscription: "s".to_owned(),
            name: "rg".to_owned(),
        };
        let record = recorded.map(|zones| DiskProperties {
            zones: zones.iter().map(|zone| (*zone).to_owned()).collect(),
            ..fake::properties("Premium_LRS")
        });
        let mapping = BTreeMap::from([
            (
                "westeurope-1".parse().unwrap(),
                "westeurope-3".parse().unwrap(),
            ),
            (
                "northeurope-1".parse().unwrap(),
                "northeurope-2".parse().unwrap(),
            ),
        ]);
        let wish = Wish {
            snapshot: &SnapshotId::new(group, "snap"),
            location: "West Europe",
            record: record.as_ref(),
            zone: given,
            place: None,
            mapping: &mapping,
            sku: &Sku::new(sku),
        };
        wish.zone()
            .map(|zone| zone.map(|zone| zone.to_string()))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_zone_is_what_the_volume_needs() {
        const LRS: &str = "Premium_LRS";
        for (given, recorded, sku, expected) in [
            ("westeurope-2", None, LRS, Some("westeurope-2")),
            ("westeurope-2", Some(&["2"][..]), LRS, Some("westeurope-2")),
            ("westeurope-1", Some(&["1"][..]), LRS, Some("westeurope-3")),
            ("WestEurope-1", None, LRS, Some("westeurope-3")),
            ("westeurope-2", None, "Premium_ZRS", None),
            ("westeurope-2", None, "standardssd_zrs", None),
            ("westeurope-2", None, "Future_ZRS", None),
            ("", None, LRS, None),
            ("0", None, LRS, None),
            ("0", Some(&[][..]), LRS, None),
            ("1", Some(&[][..]), LRS, None),
            ("2", Some(&["2"][..]), LRS, Some("westeurope-2")),
            ("2", None, LRS, Some("westeurope-2")),
            ("1", None, LRS, Some("westeurope-3")),
            ("", Some(&["1"][..]), LRS, Some("westeurope-3")),
            ("", Some(&["2"][..]), LRS, Some("westeurope-2")),
        ] {
            let got = zone(given, recorded, sku);
            assert_eq!(
                got,
                Ok(expected.map(str::to_owned)),
                "{given} {recorded:?} {sku}"
            );
        }
    }

    #[test]
    fn what_is_no_zone_here_is_an_error_that_says_what_to_do() {
        for (given, expected) in [
            ("eu", "`eu`, expected <region>-<number>"),
            ("-1", "`-1`"),
            ("300", "`300`"),
            ("northeurope-3", "copy the snapshot"),
            ("northeurope-1", "zone northeurope-2"),
        ] {
            let error = zone(given, None, "Premium_LRS").unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
