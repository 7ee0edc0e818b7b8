//! `spec.csi.volumeAttributes`: the driver's parameters, whose names it reads without case
//! (azuredisk-csi-driver, `docs/driver-parameters.md`), and what the provisioner adds.
//!
//! `storage.kubernetes.io/csiProvisionerIdentity` stays: nothing acts on it.

use serde_json::{Map, Value, json};

use super::{Object, RestoredDisk, text};

const PV_NAME: &str = "csi.storage.k8s.io/pv/name";
const CLAIM_NAME: &str = "csi.storage.k8s.io/pvc/name";
const CLAIM_NAMESPACE: &str = "csi.storage.k8s.io/pvc/namespace";

pub(super) fn set(csi: &mut Object, disk: &RestoredDisk, claim: Option<&Object>) {
    let attributes = csi.entry("volumeAttributes").or_insert_with(|| json!({}));
    if !attributes.is_object() {
        *attributes = Value::Object(Map::new());
    }
    let Some(attributes) = attributes.as_object_mut() else {
        return;
    };
    name_owners(attributes, claim);
    describe(attributes, disk);
    if attributes.is_empty() {
        csi.shift_remove("volumeAttributes");
    }
}

/// Velero has mapped the claim's namespace already, but chooses the PV's own name later.
fn name_owners(attributes: &mut Object, claim: Option<&Object>) {
    attributes.shift_remove(PV_NAME);
    for (attribute, field) in [(CLAIM_NAME, "name"), (CLAIM_NAMESPACE, "namespace")] {
        if !attributes.contains_key(attribute) {
            continue;
        }
        match claim.and_then(|claim| text(claim, field)) {
            Some(value) => {
                attributes.insert(attribute.to_owned(), json!(value));
            }
            None => {
                attributes.shift_remove(attribute);
            }
        }
    }
}

fn describe(attributes: &mut Object, disk: &RestoredDisk) {
    let is = &disk.properties;
    let provisioned = is.sku.copies_in_background();
    let known_by = ["skuName", "storageAccountType"];
    if !known_by
        .iter()
        .any(|name| replace(attributes, name, Some(is.sku.as_str())))
    {
        attributes.insert("skuName".to_owned(), json!(is.sku.as_str()));
    } else {
        // Both names may be there: neither may lie.
        replace(attributes, known_by[1], Some(is.sku.as_str()));
    }
    let speed = |value: Option<i64>| value.filter(|_| provisioned).map(|value| value.to_string());
    replace(
        attributes,
        "DiskIOPSReadWrite",
        speed(is.iops_read_write).as_deref(),
    );
    replace(
        attributes,
        "DiskMBpsReadWrite",
        speed(is.mbps_read_write).as_deref(),
    );
    replace(attributes, "resourceGroup", Some(&disk.id.group.name));
    replace(
        attributes,
        "subscriptionID",
        Some(&disk.id.group.subscription),
    );
    replace(attributes, "diskName", Some(&disk.id.name));
    let sector = is
        .logical_sector_size
        .filter(|_| provisioned)
        .map(|size| size.to_string());
    let told = replace(attributes, "LogicalSectorSize", sector.as_deref());
    if let Some(sector) = sector.filter(|_| !told) {
        attributes.insert("LogicalSectorSize".to_owned(), json!(sector));
    }
    // They cannot be cached, and are not attached if the PV says otherwise.
    if provisioned && !replace(attributes, "cachingMode", Some("None")) {
        attributes.insert("cachingMode".to_owned(), json!("None"));
    }
}

/// Gives the attribute of that name, in any case, the value, or removes it; whether there was one.
fn replace(attributes: &mut Object, name: &str, value: Option<&str>) -> bool {
    let same = |key: &&String| key.eq_ignore_ascii_case(name);
    let keys: Vec<String> = attributes.keys().filter(same).cloned().collect();
    for key in &keys {
        match value {
            Some(value) => {
                attributes.insert(key.clone(), json!(value));
            }
            None => {
                attributes.shift_remove(key);
            }
        }
    }
    !keys.is_empty()
}
