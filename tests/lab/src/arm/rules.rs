//! Azure's rules that disks and snapshots share: names, tags, places, SKUs.

use super::{body::Tags, refusal::Refusal};
use crate::{Kind, ResourceId, Settings, Sku};

/// 1 to 80 word characters, `-` and `.`; a word character first, none of `-.` last.
pub(crate) fn name(kind: Kind, name: &str) -> Result<(), Refusal> {
    let entity = match kind {
        Kind::Snapshot => "snapshotName",
        Kind::Disk
        | Kind::DiskEncryptionSet
        | Kind::DiskAccess
        | Kind::VirtualMachine
        | Kind::StorageAccount => "diskName",
    };
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let first = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    let last = !name.ends_with(['-', '.']);
    if name.len() <= 80 && name.chars().all(allowed) && first && last {
        Ok(())
    } else {
        Err(Refusal::Name(entity))
    }
}

/// At most 50; keys of 1 to 512 characters without `<>%&\?/`, different without case; values ≤ 256.
pub(crate) fn tags(tags: Option<&Tags>) -> Result<(), Refusal> {
    let Some(tags) = tags else { return Ok(()) };
    if tags.len() > 50 {
        return Err(Refusal::TagCount(tags.len()));
    }
    let mut seen = std::collections::BTreeSet::new();
    for (key, value) in tags {
        let reserved =
            |c: char| matches!(c, '<' | '>' | '%' | '&' | '\\' | '?' | '/') || c.is_control();
        if key.is_empty() || key.contains(reserved) {
            return Err(Refusal::TagCharacters(format!(
                "The tag names '{key}' have reserved characters '<,>,%,&,\\,?,/' or control characters."
            )));
        }
        let lower = key.to_ascii_lowercase();
        if ["microsoft", "azure", "windows"]
            .iter()
            .any(|prefix| lower.starts_with(prefix))
        {
            return Err(Refusal::TagCharacters(format!(
                "The tag name '{key}' has a reserved prefix 'microsoft', 'azure' or 'windows'."
            )));
        }
        if key.chars().count() > 512 {
            return Err(Refusal::TagLength(format!(
                "Tag name too large. Following tag name '{key}' exceeded the maximum length. Maximum allowed length for \
                 tag name - '512' characters."
            )));
        }
        if value.chars().count() > 256 {
            return Err(Refusal::TagLength(format!(
                "Tag value too large. Following tag value '{value}' exceeded the maximum length. Maximum allowed length \
                 for tag value - '256' characters."
            )));
        }
        if !seen.insert(lower) {
            return Err(Refusal::TagCharacters(format!(
                "The tag name '{key}' is given twice; tag names have no case."
            )));
        }
    }
    Ok(())
}

/// The region's own spelling of a location (`West Europe` is `westeurope`).
pub(crate) fn location(
    settings: &Settings,
    kind: Kind,
    asked: Option<&str>,
) -> Result<String, Refusal> {
    let asked = asked.ok_or(Refusal::NoLocation)?;
    let wanted = asked.replace(' ', "").to_ascii_lowercase();
    if settings.regions.contains_key(&wanted) {
        return Ok(wanted);
    }
    let known = settings
        .regions
        .keys()
        .cloned()
        .collect::<Vec<_>>()
        .join(",");
    Err(Refusal::Location {
        location: asked.into(),
        kind,
        known,
    })
}

/// Zones of a disk: one of the region's, or none; as its SKU has it.
pub(crate) fn zones(
    settings: &Settings,
    id: &ResourceId,
    location: &str,
    sku: Sku,
    zones: &[String],
) -> Result<(), Refusal> {
    let known = settings
        .regions
        .get(location)
        .map(Vec::as_slice)
        .unwrap_or_default();
    let resource = format!("Microsoft.Compute/disks/{}", id.name);
    match zones {
        [] if sku.provisioned() && !known.is_empty() => Err(Refusal::parameter(
            "zones",
            format!(
                "Disk '{}' of SKU {sku} must be created in an availability zone of location '{location}'.",
                id.name
            ),
        )),
        [] if sku.zone_redundant() && known.is_empty() => Err(Refusal::parameter(
            "sku.name",
            format!(
                "SKU {sku} is not supported in location '{location}', which has no availability zones."
            ),
        )),
        [] => Ok(()),
        _ if known.is_empty() => Err(Refusal::NoZones {
            location: location.into(),
            resource,
        }),
        [_, _, ..] => Err(Refusal::parameter(
            "zones",
            "A disk can be in only one availability zone.",
        )),
        [zone] if !known.contains(zone) => Err(Refusal::Zone {
            zone: zone.clone(),
            resource,
            location: location.into(),
            known: known.join(","),
        }),
        [_] if sku.zone_redundant() => Err(Refusal::parameter(
            "zones",
            format!(
                "Disk '{}' of the zone-redundant SKU {sku} cannot be in a zone.",
                id.name
            ),
        )),
        [zone] if settings.withheld.contains(&(sku, zone.clone())) => {
            Err(Refusal::SkuNotAvailable(format!(
                "The requested SKU {sku} of resource '{resource}' is not available in location '{location}' zones \
                 '{zone}' for this subscription. Try another zone or SKU."
            )))
        }
        [_] => Ok(()),
    }
}

/// Refuses a value that is none of `allowed`.
pub(crate) fn one_of(
    target: &'static str,
    value: Option<&str>,
    allowed: &[&str],
) -> Result<(), Refusal> {
    match value {
        Some(value) if !allowed.contains(&value) => Err(Refusal::parameter(
            target,
            format!(
                "The value '{value}' of parameter '{target}' is invalid. Allowed values are '{}'.",
                allowed.join("', '")
            ),
        )),
        Some(_) | None => Ok(()),
    }
}

/// The SKU that is asked for.
pub(crate) fn sku(asked: Option<&str>, allowed: &[Sku], default: Sku) -> Result<Sku, Refusal> {
    let Some(asked) = asked else {
        return Ok(default);
    };
    let found = asked.parse().ok().filter(|sku| allowed.contains(sku));
    found.ok_or_else(|| {
        let names: Vec<_> = allowed.iter().map(|sku| sku.name()).collect();
        Refusal::parameter(
            "sku.name",
            format!(
                "The value '{asked}' of parameter 'sku.name' is invalid. Allowed values are '{}'.",
                names.join("', '")
            ),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_azures_rule() {
        let longest = "n".repeat(80);
        let too_long = "n".repeat(81);
        for (text, fine) in [
            ("pvc-1_a.b", true),
            ("1", true),
            ("ends_", true),
            (&*longest, true),
            (&*too_long, false),
            ("", false),
            ("-a", false),
            ("a-", false),
            ("a b", false),
        ] {
            assert_eq!(name(Kind::Snapshot, text).is_ok(), fine, "{text}");
        }
    }

    #[test]
    fn tags_follow_azures_rules() {
        let of = |pairs: &[(&str, &str)]| -> Tags {
            pairs
                .iter()
                .map(|(k, v)| ((*k).into(), (*v).into()))
                .collect()
        };
        let long = "v".repeat(257);
        let key = "k".repeat(513);
        let cases = [
            (of(&[("velero.io-backup", "b"), ("a b", "")]), true),
            (of(&[("velero.io/backup", "b")]), false),
            (of(&[("a?", "")]), false),
            (of(&[("a", &long)]), false),
            (of(&[(&key, "")]), false),
            (of(&[("A", ""), ("a", "")]), false),
            (of(&[("azure-x", "")]), false),
            (
                (0..51).map(|n| (n.to_string(), String::new())).collect(),
                false,
            ),
            (
                (0..50).map(|n| (n.to_string(), String::new())).collect(),
                true,
            ),
        ];
        for (case, fine) in cases {
            assert_eq!(tags(Some(&case)).is_ok(), fine, "{case:?}");
        }
    }
}
