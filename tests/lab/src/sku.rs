//! SKUs of disks and snapshots, and what Azure allows each.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// `sku.name` of a disk or a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Sku {
    StandardLrs,
    StandardZrs,
    StandardSsdLrs,
    StandardSsdZrs,
    PremiumLrs,
    PremiumZrs,
    PremiumV2Lrs,
    UltraSsdLrs,
}

/// A name that is no SKU.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a SKU of a disk or snapshot")]
pub struct ParseSkuError(String);

impl Sku {
    /// What a disk can be.
    pub const DISKS: [Self; 7] = [
        Self::StandardLrs,
        Self::StandardSsdLrs,
        Self::StandardSsdZrs,
        Self::PremiumLrs,
        Self::PremiumZrs,
        Self::PremiumV2Lrs,
        Self::UltraSsdLrs,
    ];
    /// What a snapshot can be.
    pub const SNAPSHOTS: [Self; 3] = [Self::StandardLrs, Self::StandardZrs, Self::PremiumLrs];

    /// Azure's spelling.
    pub fn name(self) -> &'static str {
        match self {
            Self::StandardLrs => "Standard_LRS",
            Self::StandardZrs => "Standard_ZRS",
            Self::StandardSsdLrs => "StandardSSD_LRS",
            Self::StandardSsdZrs => "StandardSSD_ZRS",
            Self::PremiumLrs => "Premium_LRS",
            Self::PremiumZrs => "Premium_ZRS",
            Self::PremiumV2Lrs => "PremiumV2_LRS",
            Self::UltraSsdLrs => "UltraSSD_LRS",
        }
    }

    /// `sku.tier`.
    pub fn tier(self) -> &'static str {
        match self {
            Self::StandardLrs | Self::StandardZrs | Self::StandardSsdLrs | Self::StandardSsdZrs => {
                "Standard"
            }
            Self::PremiumLrs | Self::PremiumZrs => "Premium",
            Self::PremiumV2Lrs => "PremiumV2",
            Self::UltraSsdLrs => "Ultra",
        }
    }

    /// Replicated across zones, so in none.
    pub fn zone_redundant(self) -> bool {
        matches!(
            self,
            Self::StandardZrs | Self::StandardSsdZrs | Self::PremiumZrs
        )
    }

    /// Ultra and PremiumV2: zonal, performance of its own, snapshots copied in the background.
    pub fn provisioned(self) -> bool {
        matches!(self, Self::PremiumV2Lrs | Self::UltraSsdLrs)
    }

    /// Premium SSD, the only one with a performance tier.
    pub fn premium(self) -> bool {
        matches!(self, Self::PremiumLrs | Self::PremiumZrs)
    }

    pub(crate) fn largest_gib(self) -> u64 {
        if self.provisioned() { 65536 } else { 32767 }
    }

    /// `diskIOPSReadWrite` and `diskMBpsReadWrite` of a disk of `gib` when none is asked for.
    pub(crate) fn performance(self, gib: u64) -> (u64, u64) {
        match self {
            Self::StandardLrs | Self::StandardZrs | Self::StandardSsdLrs | Self::StandardSsdZrs => {
                (500, 60)
            }
            Self::PremiumLrs | Self::PremiumZrs => premium_tier(gib).1,
            Self::PremiumV2Lrs => (3000, 125),
            Self::UltraSsdLrs => ((gib * 2).clamp(500, 160_000), (gib / 64).clamp(8, 4000)),
        }
    }

    /// The most that can be asked for: IOPS, and MB/s at `iops`; `None` where neither can be.
    pub(crate) fn most(self, gib: u64, iops: u64) -> Option<(u64, u64)> {
        match self {
            Self::PremiumV2Lrs => Some((
                if gib <= 6 {
                    3000
                } else {
                    (gib * 500).min(80_000)
                },
                (iops / 4).clamp(125, 1200),
            )),
            Self::UltraSsdLrs => Some((
                (gib * 300).clamp(1200, 400_000),
                (iops / 4).clamp(1, 10_000),
            )),
            Self::StandardLrs
            | Self::StandardZrs
            | Self::StandardSsdLrs
            | Self::StandardSsdZrs
            | Self::PremiumLrs
            | Self::PremiumZrs => None,
        }
    }
}

/// The baseline tier of a Premium SSD with its IOPS and MB/s.
pub(crate) fn premium_tier(gib: u64) -> (&'static str, (u64, u64)) {
    let fits = PREMIUM_TIERS.iter().find(|(_, most, _)| gib <= *most);
    fits.map_or(("P80", (20_000, 900)), |(name, _, performance)| {
        (name, *performance)
    })
}

/// Name, largest size in GiB, IOPS and MB/s.
pub(crate) const PREMIUM_TIERS: [(&str, u64, (u64, u64)); 14] = [
    ("P1", 4, (120, 25)),
    ("P2", 8, (120, 25)),
    ("P3", 16, (120, 25)),
    ("P4", 32, (120, 25)),
    ("P6", 64, (240, 50)),
    ("P10", 128, (500, 100)),
    ("P15", 256, (1100, 125)),
    ("P20", 512, (2300, 150)),
    ("P30", 1024, (5000, 200)),
    ("P40", 2048, (7500, 250)),
    ("P50", 4096, (7500, 250)),
    ("P60", 8192, (16_000, 500)),
    ("P70", 16384, (18_000, 750)),
    ("P80", 32767, (20_000, 900)),
];

impl fmt::Display for Sku {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Sku {
    type Err = ParseSkuError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::DISKS
            .into_iter()
            .chain([Self::StandardZrs])
            .find(|sku| sku.name().eq_ignore_ascii_case(text))
            .ok_or_else(|| ParseSkuError(text.into()))
    }
}

impl Serialize for Sku {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Sku {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}
