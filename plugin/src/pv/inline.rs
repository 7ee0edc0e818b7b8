//! A disk in a pod's own spec: an `azureDisk` volume, and the node affinity that brings the pod to the disk.

use serde_json::{Map, Value, json};
use thiserror::Error;

use super::{Object, RestoredDisk, ZONE_LABEL, affinity};

const ZONES: [&str; 2] = [ZONE_LABEL, super::OLD_ZONE_LABEL];

/// Why a pod's template cannot have the disk.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InlineError {
    /// Not a workload's JSON.
    #[error("it has no spec.template.spec")]
    Shape,
    /// Which volume to replace is not clear.
    #[error("{reason}: choose with `--volume` one of its volumes: {volumes}")]
    Volume {
        /// Why.
        reason: String,
        /// Their names.
        volumes: String,
    },
}

/// A disk for a pod's spec.
#[derive(Clone, Copy, Debug)]
pub struct Inline<'a> {
    /// Which disk.
    pub disk: &'a RestoredDisk,
    /// `ext4`, …
    pub filesystem: Option<&'a str>,
}

impl Inline<'_> {
    /// The volume of that name.
    pub fn volume(&self, name: &str) -> Value {
        let provisioned = self.disk.properties.sku.copies_in_background();
        let mut source = json!({
            "kind": "Managed",
            "diskName": self.disk.id.name,
            "diskURI": self.disk.id.to_string(),
            "cachingMode": if provisioned { "None" } else { "ReadOnly" },
        });
        if let Some(filesystem) = self.filesystem {
            source["fsType"] = json!(filesystem);
        }
        json!({ "name": name, "azureDisk": source })
    }

    /// `affinity` for a pod that has none; nothing if any node will do.
    pub fn affinity(&self) -> Option<Value> {
        let mut spec = Map::new();
        self.require(&mut spec);
        spec.shift_remove("affinity")
    }

    /// A workload's JSON whose pods have the disk in the place of a volume: of that name, of that claim, or of the only
    /// claim.
    ///
    /// # Errors
    /// See [`InlineError`].
    pub fn patched(
        &self,
        mut workload: Value,
        volume: Option<&str>,
        claim: &str,
    ) -> Result<Value, InlineError> {
        let spec = workload.pointer_mut("/spec/template/spec");
        let spec = spec.and_then(Value::as_object_mut);
        let spec = spec.ok_or(InlineError::Shape)?;
        let name = chosen(spec, volume, claim)?;
        let volumes = spec.get_mut("volumes").and_then(Value::as_array_mut);
        for one in volumes.ok_or(InlineError::Shape)? {
            if one["name"] == *name {
                *one = self.volume(&name);
            }
        }
        self.require(spec);
        if let (Some(zone), Some(selector)) = (
            &self.disk.zone,
            spec.get_mut("nodeSelector").and_then(Value::as_object_mut),
        ) {
            for key in ZONES
                .iter()
                .filter(|key| selector.contains_key(**key))
                .collect::<Vec<_>>()
            {
                selector.insert((*key).to_string(), json!(zone.to_string()));
            }
        }
        Ok(workload)
    }

    /// The pods' required node affinity is of the same form as a PV's.
    fn require(&self, spec: &mut Object) {
        const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
        let known = spec.get("affinity").and_then(|all| all.get("nodeAffinity"));
        let known = known.and_then(|nodes| nodes.get(REQUIRED)).cloned();
        let mut like_a_pv = Map::new();
        if let Some(known) = known {
            like_a_pv.insert("nodeAffinity".to_owned(), json!({ "required": known }));
        }
        affinity::set(&mut like_a_pv, self.disk, false, &Map::new());
        let wanted = like_a_pv.shift_remove("nodeAffinity");
        let wanted = wanted.and_then(|mut nodes| nodes.get_mut("required").map(Value::take));
        let Some(wanted) = wanted else {
            let nodes = spec
                .get_mut("affinity")
                .and_then(|all| all.get_mut("nodeAffinity"));
            if let Some(nodes) = nodes.and_then(Value::as_object_mut) {
                nodes.shift_remove(REQUIRED);
            }
            return;
        };
        let affinity = spec.entry("affinity").or_insert_with(|| json!({}));
        affinity["nodeAffinity"][REQUIRED] = wanted;
    }
}

fn chosen(spec: &Object, volume: Option<&str>, claim: &str) -> Result<String, InlineError> {
    let volumes = spec.get("volumes").and_then(Value::as_array);
    let volumes: Vec<&Value> = volumes.into_iter().flatten().collect();
    let name = |one: &Value| one["name"].as_str().unwrap_or_default().to_owned();
    let of_claim = |one: &&&Value| one["persistentVolumeClaim"]["claimName"] == *claim;
    let disks =
        |one: &&&Value| one["persistentVolumeClaim"].is_object() || one["azureDisk"].is_object();
    let unclear = |reason: String| {
        let names: Vec<_> = volumes.iter().map(|one| name(one)).collect();
        Err(InlineError::Volume {
            reason,
            volumes: if names.is_empty() {
                "it has none".to_owned()
            } else {
                names.join(", ")
            },
        })
    };
    if let Some(wanted) = volume {
        return match volumes.iter().find(|one| one["name"] == *wanted) {
            Some(found) => Ok(name(found)),
            None => unclear(format!("it has no volume `{wanted}`")),
        };
    }
    if let Some(found) = volumes.iter().find(of_claim) {
        return Ok(name(found));
    }
    match volumes.iter().filter(disks).collect::<Vec<_>>().as_slice() {
        [only] => Ok(name(only)),
        _ => unclear(format!("no volume of it is of the claim `{claim}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::fake;

    fn disk() -> RestoredDisk {
        RestoredDisk {
            id: fake::disk_id("data-1"),
            region: "westeurope".to_owned(),
            zone: Some("westeurope-2".parse().unwrap()),
            properties: fake::properties("Premium_LRS"),
            origin: None,
        }
    }

    fn workload(affinity: Value) -> Value {
        json!({ "spec": { "template": { "spec": {
            "affinity": affinity,
            "nodeSelector": { ZONE_LABEL: "westeurope-1" },
            "volumes": [
                { "name": "tmp", "emptyDir": {} },
                { "name": "data", "persistentVolumeClaim": { "claimName": "data" } },
                { "name": "more", "persistentVolumeClaim": { "claimName": "more" } },
            ],
        } } } })
    }

    fn patched(affinity: Value, volume: Option<&str>, claim: &str) -> Result<Value, InlineError> {
        let disk = disk();
        let inline = Inline {
            disk: &disk,
            filesystem: Some("ext4"),
        };
        let workload = inline.patched(workload(affinity), volume, claim)?;
        Ok(workload["spec"]["template"]["spec"].clone())
    }

    fn terms(spec: &Value) -> &Value {
        &spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    }

    #[test]
    fn the_claim_s_volume_becomes_the_disk_and_the_pod_goes_to_it() {
        let spec = patched(json!(null), None, "data").unwrap();
        assert_eq!(spec["volumes"][1]["azureDisk"]["diskName"], "data-1");
        assert!(spec["volumes"][1].get("persistentVolumeClaim").is_none());
        assert!(spec["volumes"][2]["persistentVolumeClaim"].is_object());
        assert_eq!(
            terms(&spec),
            &json!([{ "matchExpressions": [
            { "key": ZONE_LABEL, "operator": "In", "values": ["westeurope-2"] },
        ] }])
        );
        assert_eq!(spec["nodeSelector"][ZONE_LABEL], "westeurope-2");
    }

    #[test]
    fn what_the_pod_asks_for_besides_zones_stays() {
        let affinity = json!({
            "podAntiAffinity": {},
            "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": [
                { "matchExpressions": [
                    { "key": "pool", "operator": "In", "values": ["fast"] },
                    { "key": ZONE_LABEL, "operator": "In", "values": ["westeurope-1"] },
                ] },
            ] } },
        });
        let spec = patched(affinity, Some("more"), "data").unwrap();
        assert!(spec["affinity"]["podAntiAffinity"].is_object());
        assert_eq!(
            terms(&spec),
            &json!([{ "matchExpressions": [
            { "key": ZONE_LABEL, "operator": "In", "values": ["westeurope-2"] },
            { "key": "pool", "operator": "In", "values": ["fast"] },
        ] }])
        );
        assert_eq!(spec["volumes"][2]["azureDisk"]["diskName"], "data-1");
    }

    #[test]
    fn a_volume_that_is_not_clear_is_asked_for() {
        for (volume, claim, expected) in [
            (None, "other", "of the claim `other`"),
            (Some("x"), "data", "no volume `x`"),
        ] {
            let error = patched(json!({}), volume, claim).unwrap_err().to_string();
            assert!(
                error.contains(expected) && error.contains("tmp, data, more"),
                "{error}"
            );
        }
    }
}
