//! In-tree `azureDisk` volumes as `disk.csi.azure.com`, as Kubernetes' own translation makes them
//! (`k8s.io/csi-translation-lib`, `plugins/azure_disk.go`).

use serde_json::{Map, Value, json};

use super::{DRIVER, Object, text};

/// Puts a CSI source in the place of the in-tree one. The handle is set afterwards.
pub(super) fn to_csi(spec: &mut Object) {
    let Some(Value::Object(disk)) = spec.shift_remove("azureDisk") else {
        return;
    };
    let mut attributes = Map::new();
    attributes.insert("kind".to_owned(), json!("Managed"));
    let mut csi = Map::new();
    csi.insert("driver".to_owned(), json!(DRIVER));
    if let Some(mode) = text(&disk, "cachingMode") {
        attributes.insert("cachingMode".to_owned(), json!(mode));
    }
    if let Some(kind) = text(&disk, "fsType") {
        csi.insert("fsType".to_owned(), json!(kind));
        attributes.insert("fsType".to_owned(), json!(kind));
    }
    if disk.get("readOnly").and_then(Value::as_bool) == Some(true) {
        csi.insert("readOnly".to_owned(), json!(true));
    }
    csi.insert("volumeAttributes".to_owned(), Value::Object(attributes));
    spec.insert("csi".to_owned(), Value::Object(csi));
}

/// Whoever provisions and deletes the volume from now on is the CSI driver, and there is nothing left to migrate.
pub(super) fn annotate(annotations: &mut Object) {
    annotations.insert("pv.kubernetes.io/provisioned-by".to_owned(), json!(DRIVER));
    annotations.shift_remove("pv.kubernetes.io/migrated-to");
}
