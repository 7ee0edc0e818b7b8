//! What Azure allows of a disk's performance, by its SKU and size.

use super::{body::DiskProperties, refusal::Refusal};
use crate::{Sku, sku::PREMIUM_TIERS};

/// IOPS, throughput, tier, bursting and the other properties that only some SKUs and sizes have.
pub(crate) fn check(sku: Sku, gib: u64, properties: &DiskProperties) -> Result<(), Refusal> {
    let DiskProperties {
        iops,
        mbps,
        iops_read_only,
        mbps_read_only,
        tier,
        bursting_enabled,
        max_shares,
        ..
    } = properties;
    let asked = [
        ("diskIOPSReadWrite", iops),
        ("diskMBpsReadWrite", mbps),
        ("diskIOPSReadOnly", iops_read_only),
        ("diskMBpsReadOnly", mbps_read_only),
    ];
    let base = sku.performance(gib);
    match sku.most(gib, iops.unwrap_or(base.0)) {
        None => {
            if let Some((name, _)) = asked.iter().find(|(_, value)| value.is_some()) {
                return Err(Refusal::parameter(
                    name,
                    format!(
                        "{name} can be set only on UltraSSD_LRS and PremiumV2_LRS disks, not {sku}."
                    ),
                ));
            }
        }
        Some((most_iops, most_mbps)) => {
            range("diskIOPSReadWrite", *iops, 100, most_iops)?;
            range("diskIOPSReadOnly", *iops_read_only, 100, most_iops)?;
            range("diskMBpsReadWrite", *mbps, 1, most_mbps)?;
            range("diskMBpsReadOnly", *mbps_read_only, 1, most_mbps)?;
        }
    }
    if (iops_read_only.is_some() || mbps_read_only.is_some()) && max_shares.unwrap_or(1) < 2 {
        return Err(Refusal::parameter(
            "diskIOPSReadOnly",
            "Read-only performance needs maxShares above 1.",
        ));
    }
    if let Some(tier) = tier {
        let place = |gib: u64| {
            PREMIUM_TIERS
                .iter()
                .position(|(_, most, _)| gib <= *most)
                .unwrap_or(13)
        };
        let fits = PREMIUM_TIERS
            .iter()
            .position(|(name, ..)| name == tier)
            .is_some_and(|at| at >= place(gib));
        if !sku.premium() || !fits {
            return Err(Refusal::parameter(
                "tier",
                format!(
                    "Performance tier '{tier}' is not valid for a {sku} disk of {gib} GiB; only Premium SSDs have one, \
                         not below that of their size."
                ),
            ));
        }
    }
    if *bursting_enabled == Some(true) && !(sku.premium() && gib > 512) {
        return Err(Refusal::parameter(
            "burstingEnabled",
            "Bursting can be enabled only on Premium SSDs above 512 GiB.",
        ));
    }
    if *max_shares == Some(0) || max_shares.is_some_and(|shares| shares > 15) {
        return Err(Refusal::parameter(
            "maxShares",
            "maxShares must be between 1 and 15.",
        ));
    }
    if max_shares.is_some_and(|shares| shares > 1) && matches!(sku, Sku::StandardLrs) {
        return Err(Refusal::parameter(
            "maxShares",
            "Shared disks cannot be Standard_LRS.",
        ));
    }
    let plus = properties
        .creation_data
        .as_ref()
        .and_then(|creation| creation.performance_plus);
    if plus == Some(true) && (gib < 513 || sku.provisioned()) {
        return Err(Refusal::parameter(
            "creationData.performancePlus",
            "performancePlus needs at least 513 GiB, and no Ultra or PremiumV2.",
        ));
    }
    Ok(())
}

fn range(target: &str, value: Option<u64>, least: u64, most: u64) -> Result<(), Refusal> {
    match value {
        Some(value) if !(least..=most).contains(&value) => Err(Refusal::parameter(
            target,
            format!(
                "The value '{value}' of parameter '{target}' is out of range. The value must be between '{least}' and '{most}', inclusive."
            ),
        )),
        Some(_) | None => Ok(()),
    }
}
