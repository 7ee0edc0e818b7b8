//! How fast a disk is made that becomes PremiumV2 or Ultra: as the original, within what Azure sells for its size.
//!
//! Source: learn.microsoft.com, "Azure managed disk types". Azure refuses what is out of these bounds.

use crate::model::{DiskProperties, Sku};

/// IOPS and MB/s.
type Speed = (Option<i64>, Option<i64>);

/// What a disk of that size can be given.
struct Bounds {
    /// From, to.
    iops: (i64, i64),
    /// The most MB/s.
    mbps: i64,
    /// What it has if nothing is asked for, and nobody can have less; for Ultra that depends on its size.
    base: Option<(i64, i64)>,
}

impl Bounds {
    fn of(sku: &Sku, gibibytes: i64) -> Self {
        if sku.is_ultra() {
            Self {
                iops: (gibibytes.max(100), (gibibytes * 300).clamp(1200, 400_000)),
                mbps: 10_000,
                base: None,
            }
        } else {
            let most = if gibibytes <= 6 {
                3000
            } else {
                gibibytes * 500
            };
            Self {
                iops: (3000, most.clamp(3000, 80_000)),
                mbps: 1200,
                base: Some((3000, 125)),
            }
        }
    }
}

/// The speed of `known` for a disk of that other SKU; what its base gives anyway is not asked for.
pub(super) fn carried_over(known: &DiskProperties, sku: &Sku, gibibytes: Option<u32>) -> Speed {
    let bounds = Bounds::of(sku, gibibytes.unwrap_or(1).into());
    let (base_iops, base_mbps) = match bounds.base {
        Some((iops, mbps)) => (Some(iops), Some(mbps)),
        None => (None, None),
    };
    let above = |value: i64, base: Option<i64>| base.is_none_or(|base| value > base);
    let iops = known
        .iops_read_write
        .map(|iops| iops.clamp(bounds.iops.0, bounds.iops.1))
        .filter(|iops| above(*iops, base_iops));
    // A quarter of a MB/s for each IOPS, and at least 4 kB/s.
    let given = iops.or(base_iops).unwrap_or(bounds.iops.0);
    let mbps = known
        .mbps_read_write
        .map(|mbps| mbps.clamp((given + 249) / 250, (given / 4).min(bounds.mbps)))
        .filter(|mbps| above(*mbps, base_mbps));
    (iops, mbps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::fake;

    #[test]
    fn the_original_s_speed_is_kept_within_the_new_sku_s_bounds() {
        const V2: &str = "PremiumV2_LRS";
        const ULTRA: &str = "UltraSSD_LRS";
        for (iops, mbps, sku, gibibytes, expected) in [
            (5000, 200, V2, 1024, (Some(5000), Some(200))),
            (120, 25, V2, 4, (None, None)),
            (7500, 250, V2, 4, (None, Some(250))),
            (20_000, 900, V2, 16, (Some(8000), Some(900))),
            (160_000, 4000, V2, 1024, (Some(80_000), Some(1200))),
            (500, 8, V2, 8, (None, None)),
            (500, 100, ULTRA, 128, (Some(500), Some(100))),
            (120, 25, ULTRA, 4, (Some(120), Some(25))),
            (5000, 300, ULTRA, 10, (Some(3000), Some(300))),
            (7500, 1200, ULTRA, 2, (Some(1200), Some(300))),
            (20_000, 900, ULTRA, 32_767, (Some(32_767), Some(900))),
        ] {
            let known = DiskProperties {
                iops_read_write: Some(iops),
                mbps_read_write: Some(mbps),
                ..fake::properties("Premium_LRS")
            };
            let got = carried_over(&known, &Sku::new(sku), Some(gibibytes));
            assert_eq!(got, expected, "{iops} {mbps} {sku} {gibibytes}");
        }
    }
}
