//! `spec.nodeAffinity`: to which nodes the disk can be attached.
//!
//! What the PV asks for besides zones stays. The zone requirement is rewritten in the key that the PV used; after a
//! conversion, in the CSI driver's. The driver's own forms (azuredisk-csi-driver, `CreateVolume`): a zone; for a disk without
//! one `In [""]`, the label of nodes without zones; for a zone-redundant disk each zone and `""`.
//! The in-tree driver names fault domains `0`, `1`, `2` for a disk without a zone.

use serde_json::{Value, json};

use crate::model::Zone;

use super::{OLD_REGION_LABEL, OLD_ZONE_LABEL, Object, REGION_LABEL, RestoredDisk, ZONE_LABEL};

pub(super) const DRIVERS_ZONE: &str = "topology.disk.csi.azure.com/zone";
const ZONE_KEYS: [&str; 3] = [DRIVERS_ZONE, ZONE_LABEL, OLD_ZONE_LABEL];
const ZONES_OF_A_REGION: u8 = 3;

pub(super) fn set(spec: &mut Object, disk: &RestoredDisk, is_csi: bool, labels: &Object) {
    let terms = spec
        .get("nodeAffinity")
        .and_then(|affinity| affinity.pointer("/required/nodeSelectorTerms"))
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let used = keys(&terms);
    if disk.zone.is_none() && used.is_empty() {
        // It never asked for a zone, and there is none to ask for.
        return;
    }
    let keys = match (is_csi, used.as_slice()) {
        (true, []) => vec![DRIVERS_ZONE],
        // `topology.kubernetes.io/zone` is good for either; the old key and in-tree volumes go together.
        (true, used) => {
            let mut keys: Vec<_> = used.to_vec();
            keys.iter_mut()
                .filter(|key| **key == OLD_ZONE_LABEL)
                .for_each(|key| *key = DRIVERS_ZONE);
            keys.dedup();
            keys
        }
        (false, []) if labels.contains_key(OLD_ZONE_LABEL) => vec![OLD_ZONE_LABEL],
        (false, []) => vec![ZONE_LABEL],
        (false, used) => used.to_vec(),
    };
    let was_in_tree = used.contains(&OLD_ZONE_LABEL);
    let keys = if is_csi && was_in_tree {
        vec![DRIVERS_ZONE]
    } else {
        keys
    };
    if !is_csi
        && disk.zone.is_none()
        && !disk.properties.sku.is_zone_redundant()
        && names_fault_domains(&terms)
    {
        return;
    }
    let requirements = requirements(disk, &keys);
    let mut rests = Vec::new();
    for term in terms {
        let rest = without_zones(term, disk);
        if !rests.contains(&rest) {
            rests.push(rest);
        }
    }
    if rests.is_empty() {
        rests.push(json!({}));
    }
    let terms: Vec<Value> = rests
        .iter()
        .flat_map(|rest| requirements.iter().map(|zones| with(rest, zones)))
        .filter(|term| !is_empty(term))
        .collect();
    if terms.is_empty() {
        remove_required(spec);
        return;
    }
    let affinity = spec.entry("nodeAffinity").or_insert_with(|| json!({}));
    if !affinity.is_object() {
        *affinity = json!({});
    }
    affinity["required"] = json!({ "nodeSelectorTerms": terms });
}

/// The alternatives for the zone; each a list of requirements to be met together, perhaps none.
fn requirements(disk: &RestoredDisk, keys: &[&str]) -> Vec<Vec<Value>> {
    let one_of = |key: &str, zone: &str| json!({ "key": key, "operator": "In", "values": [zone] });
    if let Some(zone) = &disk.zone {
        let zone = zone.to_string();
        return vec![keys.iter().map(|key| one_of(key, &zone)).collect()];
    }
    if !keys.contains(&DRIVERS_ZONE) {
        // No other label says "no zone"; and every node of the region can have a zone-redundant disk.
        return vec![Vec::new()];
    }
    let mut zones: Vec<String> = Vec::new();
    if disk.properties.sku.is_zone_redundant() {
        zones.extend((1..=ZONES_OF_A_REGION).map(|number| format!("{}-{number}", disk.region)));
    }
    zones.push(String::new());
    zones
        .iter()
        .map(|zone| vec![one_of(DRIVERS_ZONE, zone)])
        .collect()
}

/// The zone keys that the terms use, the first one first.
fn keys(terms: &[Value]) -> Vec<&'static str> {
    let mut keys = Vec::new();
    for key in terms.iter().flat_map(expressions).filter_map(key) {
        if let Some(known) = ZONE_KEYS.into_iter().find(|known| *known == key)
            && !keys.contains(&known)
        {
            keys.push(known);
        }
    }
    keys
}

fn names_fault_domains(terms: &[Value]) -> bool {
    terms
        .iter()
        .flat_map(expressions)
        .filter(|expression| key(expression).is_some_and(|key| ZONE_KEYS.contains(&key)))
        .flat_map(values)
        .all(|value| value.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The one zone that a PV's affinity names.
pub(super) fn only_zone(spec: &Value) -> Option<Zone> {
    let terms = spec.pointer("/nodeAffinity/required/nodeSelectorTerms")?;
    let expressions = terms.as_array()?.iter().flat_map(expressions);
    let zones = expressions
        .filter(|one| key(one).is_some_and(|key| ZONE_KEYS.contains(&key)))
        .flat_map(values);
    let mut zones: Vec<&str> = zones.collect();
    zones.dedup();
    match zones.as_slice() {
        [zone] => zone.parse().ok(),
        _ => None,
    }
}

/// The term without its zones, and in the disk's region if it names one.
fn without_zones(mut term: Value, disk: &RestoredDisk) -> Value {
    if let Some(expressions) = term
        .get_mut("matchExpressions")
        .and_then(Value::as_array_mut)
    {
        expressions.retain(|one| key(one).is_none_or(|key| !ZONE_KEYS.contains(&key)));
        for expression in expressions {
            if key(expression).is_some_and(|key| [REGION_LABEL, OLD_REGION_LABEL].contains(&key)) {
                expression["values"] = json!([disk.region]);
            }
        }
    }
    term
}

fn with(rest: &Value, zones: &[Value]) -> Value {
    let mut term = rest.clone();
    let mut expressions = zones.to_vec();
    expressions.extend(
        rest.get("matchExpressions")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default(),
    );
    if let Some(term) = term.as_object_mut() {
        if expressions.is_empty() {
            term.shift_remove("matchExpressions");
        } else {
            term.insert("matchExpressions".to_owned(), Value::Array(expressions));
        }
    }
    term
}

/// A term that asks for nothing matches no node.
fn is_empty(term: &Value) -> bool {
    let none = |field| {
        term.get(field)
            .and_then(Value::as_array)
            .is_none_or(Vec::is_empty)
    };
    none("matchExpressions") && none("matchFields")
}

fn remove_required(spec: &mut Object) {
    if let Some(affinity) = spec.get_mut("nodeAffinity").and_then(Value::as_object_mut) {
        affinity.shift_remove("required");
        if affinity.is_empty() {
            spec.shift_remove("nodeAffinity");
        }
    }
}

fn expressions(term: &Value) -> impl Iterator<Item = &Value> {
    term.get("matchExpressions")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn key(expression: &Value) -> Option<&str> {
    expression.get("key").and_then(Value::as_str)
}

fn values(expression: &Value) -> impl Iterator<Item = &str> {
    let values = expression.get("values").and_then(Value::as_array);
    values.into_iter().flatten().filter_map(Value::as_str)
}
