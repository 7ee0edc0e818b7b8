//! Whether a disk can be brought back as somebody wants it, and where. Pure.

use thiserror::Error;

use crate::{
    kubernetes::Site,
    model::{Sku, Zone},
    ports::Offer,
    restore::Place,
};

/// Why not, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub(super) struct Refusal(pub(super) String);

fn refuse<T>(reason: String) -> Result<T, Refusal> {
    Err(Refusal(reason))
}

/// The claim must not be there, nor a volume that is for it.
pub(super) fn claim_is_free(site: &Site, namespace: &str, name: &str) -> Result<(), Refusal> {
    if site.claim_exists {
        return refuse(format!(
            "PersistentVolumeClaim {namespace}/{name} exists, and nothing that exists is replaced: choose another with \
             --name, or, if its data is worth nothing any more, kubectl delete pvc {name} -n {namespace}"
        ));
    }
    match site.reserved.first() {
        Some(volume) => refuse(format!(
            "PersistentVolume {volume} is bound to {namespace}/{name}, or reserved for it by its claimRef: choose \
             another claim with --name, or kubectl delete pv {volume}"
        )),
        None => Ok(()),
    }
}

/// A disk is made in its snapshot's region.
pub(super) fn region_is_ours(site: &Site, region: &str) -> Result<(), Refusal> {
    if site.regions.is_empty() || site.regions.contains(region) {
        return Ok(());
    }
    let ours = site.regions.iter().cloned().collect::<Vec<_>>().join(", ");
    refuse(format!(
        "the snapshot is in {region}, and this cluster's nodes are in {ours}: a disk cannot be attached from another \
         region; copy the snapshot to {ours} first (az snapshot create --copy-start --source ID --location {ours} \
         --incremental true), and restore the copy"
    ))
}

/// Where the disk is to be: where `asked`, else where the `original` was; and where this cluster has nodes.
pub(super) fn place(
    site: &Site,
    region: &str,
    asked: Option<&str>,
    original: Option<&Zone>,
) -> Result<Place, Refusal> {
    let listed = || {
        let zones: Vec<_> = site.zones.iter().map(Zone::to_string).collect();
        zones.join(", ")
    };
    let none = asked.is_some_and(|asked| asked.eq_ignore_ascii_case("none"));
    let asked = match asked.filter(|_| !none) {
        Some(text) => Some(zone(text, region)?),
        None => None,
    };
    match (asked.as_ref().or(original), site.zones.is_empty()) {
        (_, true) if asked.is_none() => Ok(Place::Region),
        (Some(zone), true) => refuse(format!(
            "this cluster has no ready node in any zone, and a disk in {zone} cannot be attached to the others: say \
             --zone none"
        )),
        (_, false) if none => refuse(format!(
            "a disk in no zone cannot be attached to this cluster's nodes, which are in {}: choose one with --zone",
            listed()
        )),
        (None, _) => refuse(format!(
            "the original was in no zone, and this cluster's nodes are in {}: choose one with --zone",
            listed()
        )),
        (Some(zone), false) if site.zones.contains(zone) => Ok(Place::Zone(zone.clone())),
        (Some(zone), false) => refuse(format!(
            "this cluster has no ready node in {zone}, so no pod could use the disk there: choose one of {} with --zone",
            listed()
        )),
    }
}

/// A zone as a person says it: `1`, `westeurope-1`.
pub(super) fn zone(text: &str, region: &str) -> Result<Zone, Refusal> {
    let whole = if text.contains('-') {
        text.to_owned()
    } else {
        format!("{region}-{text}")
    };
    let zone: Result<Zone, _> = whole.parse();
    match zone {
        Ok(zone) if zone.region == region => Ok(zone),
        Ok(zone) => refuse(format!(
            "--zone {text} is in {}, but the snapshot is in {region}, where its disks are made",
            zone.region
        )),
        Err(_) => refuse(format!(
            "--zone {text} is no zone: expected a number such as 1, {region}-1, or none"
        )),
    }
}

/// Azure must have disks of that SKU there.
pub(super) fn sku_is_offered(
    offers: &[Offer],
    sku: &Sku,
    region: &str,
    zone: Option<&Zone>,
) -> Result<(), Refusal> {
    let Some(offer) = offers.iter().find(|offer| offer.sku == *sku) else {
        let known: Vec<_> = offers.iter().map(|offer| offer.sku.as_str()).collect();
        return refuse(format!(
            "this subscription can have no {sku} disks in {region}: choose one of {} with --sku",
            known.join(", ")
        ));
    };
    let Some(zone) = zone.filter(|zone| !offer.zones.contains(&zone.number)) else {
        return Ok(());
    };
    let there = offers
        .iter()
        .filter(|offer| offer.zones.contains(&zone.number));
    let there: Vec<_> = there.map(|offer| offer.sku.as_str()).collect();
    let zones = match offer.zones.as_slice() {
        [] => "in no zone".to_owned(),
        zones => format!("only in zones {}", zones.join(", ")),
    };
    refuse(format!(
        "there are no {sku} disks in {zone}, {zones} of {region}: choose another zone with --zone, or with --sku one of \
         {}",
        there.join(", ")
    ))
}

/// The claim's class must be one that the cluster has, or none.
pub(super) fn class_is_known(site: &Site, class: &str) -> Result<(), Refusal> {
    match &site.classes {
        Some(known) if !class.is_empty() && !known.iter().any(|one| one == class) => {
            refuse(format!(
                "this cluster has no storage class {class}: choose one of {} with --storage-class, or --storage-class \"\" \
             for none",
                known.join(", ")
            ))
        }
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: &str = "westeurope";

    fn site(zones: &[&str]) -> Site {
        Site {
            zones: zones.iter().map(|zone| zone.parse().unwrap()).collect(),
            regions: [HERE.to_owned()].into(),
            classes: Some(vec!["managed-csi".into()]),
            ..Site::default()
        }
    }

    #[test]
    fn a_disk_goes_where_nodes_are_or_nowhere() {
        let two = &["westeurope-1", "westeurope-2"][..];
        for (zones, asked, original, expected) in [
            (two, Some("2"), Some("westeurope-1"), Ok("westeurope-2")),
            (two, Some("WestEurope-2"), None, Ok("westeurope-2")),
            (two, None, Some("westeurope-1"), Ok("westeurope-1")),
            (
                two,
                None,
                Some("westeurope-3"),
                Err("one of westeurope-1, westeurope-2 with --zone"),
            ),
            (
                two,
                Some("3"),
                Some("westeurope-1"),
                Err("no ready node in westeurope-3"),
            ),
            (two, None, None, Err("the original was in no zone")),
            (
                two,
                Some("none"),
                None,
                Err("nodes, which are in westeurope-1"),
            ),
            (
                two,
                Some("northeurope-1"),
                None,
                Err("the snapshot is in westeurope"),
            ),
            (two, Some("x"), None, Err("a number such as 1")),
            (&[], None, Some("westeurope-1"), Ok("")),
            (&[], Some("none"), Some("westeurope-1"), Ok("")),
            (&[], Some("1"), None, Err("--zone none")),
        ] {
            let original = original.map(|zone: &str| zone.parse().unwrap());
            let placed = place(&site(zones), HERE, asked, original.as_ref());
            let placed = placed.map(|place| match place {
                Place::Zone(zone) => zone.to_string(),
                Place::Region => String::new(),
            });
            match (placed, expected) {
                (Ok(zone), Ok(expected)) => assert_eq!(zone, expected, "{asked:?} {original:?}"),
                (Err(reason), Err(part)) => assert!(reason.0.contains(part), "{reason}"),
                (seen, expected) => panic!("{asked:?} {original:?}: {seen:?}, not {expected:?}"),
            }
        }
    }

    #[test]
    fn what_exists_is_not_replaced() {
        let taken = Site {
            claim_exists: true,
            ..site(&[])
        };
        let reserved = Site {
            reserved: vec!["pv-1".into()],
            ..site(&[])
        };
        for (site, part) in [
            (taken, "delete pvc data -n shop"),
            (reserved, "delete pv pv-1"),
        ] {
            let reason = claim_is_free(&site, "shop", "data").unwrap_err();
            assert!(
                reason.0.contains(part) && reason.0.contains("--name"),
                "{reason}"
            );
        }
        assert_eq!(claim_is_free(&site(&[]), "shop", "data"), Ok(()));
    }

    #[test]
    fn another_region_is_refused_with_the_way_there() {
        assert_eq!(region_is_ours(&site(&[]), HERE), Ok(()));
        let reason = region_is_ours(&site(&[]), "northeurope").unwrap_err();
        assert!(
            reason.0.contains("copy the snapshot to westeurope"),
            "{reason}"
        );
    }

    #[test]
    fn a_sku_that_the_zone_lacks_is_refused_with_those_it_has() {
        let offer = |sku: &str, zones: &[&str]| Offer {
            sku: Sku::new(sku),
            zones: zones.iter().map(|zone| (*zone).to_owned()).collect(),
        };
        let offers = [
            offer("Premium_LRS", &["1", "2", "3"]),
            offer("UltraSSD_LRS", &["1"]),
            offer("Premium_ZRS", &[]),
        ];
        let zone = Some("westeurope-2".parse::<Zone>().unwrap());
        for (sku, zone, part) in [
            ("premium_lrs", zone.as_ref(), None),
            ("Premium_ZRS", None, None),
            (
                "UltraSSD_LRS",
                zone.as_ref(),
                Some("only in zones 1 of westeurope"),
            ),
            (
                "UltraSSD_LRS",
                zone.as_ref(),
                Some("--sku one of Premium_LRS"),
            ),
            (
                "Standard_LRS",
                None,
                Some("choose one of Premium_LRS, UltraSSD_LRS, Premium_ZRS"),
            ),
        ] {
            match (sku_is_offered(&offers, &Sku::new(sku), HERE, zone), part) {
                (Ok(()), None) => {}
                (Err(reason), Some(part)) => assert!(reason.0.contains(part), "{reason}"),
                (seen, part) => panic!("{sku}: {seen:?}, not {part:?}"),
            }
        }
    }

    #[test]
    fn a_class_that_is_not_there_is_refused() {
        for (class, free) in [("", true), ("managed-csi", true), ("default", false)] {
            assert_eq!(class_is_known(&site(&[]), class).is_ok(), free, "{class}");
        }
    }
}
