//! What is kept of a class.

use kube::{ResourceExt as _, core::DynamicObject};

use super::super::wish::{ANNOTATION, read};
use crate::gate::ports::Class;

/// The driver reads its parameters without case (azuredisk-csi-driver, CreateSnapshot).
pub(super) fn of(object: &DynamicObject) -> Option<Class> {
    let parameters = object.data["parameters"].as_object();
    let parameter = |name: &str| {
        let mut parameters = parameters.into_iter().flatten();
        let (_, value) = parameters.find(|(key, _)| key.eq_ignore_ascii_case(name))?;
        value
            .as_str()
            .filter(|value| !value.is_empty())
            .map(str::to_owned)
    };
    let wish = object.annotations().get(ANNOTATION);
    Some(Class {
        wish: wish.and_then(|wish| read(wish, "class")),
        resource_group: parameter("resourceGroup"),
        subscription: parameter("subscriptionID"),
        location: parameter("location"),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::FreezeMode;

    #[test]
    fn a_class_tells_where_snapshots_go_and_whether_to_freeze() {
        let class = json!({
            "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshotClass",
            "metadata": { "name": "c", "annotations": { "stillpoint.io/freeze": "required" } },
            "parameters": { "resourcegroup": "backups", "incremental": "true", "location": "" },
        });
        let class = of(&serde_json::from_value(class).unwrap()).unwrap();
        let expected = Class {
            wish: Some(FreezeMode::Required),
            resource_group: Some("backups".to_owned()),
            ..Class::default()
        };
        assert_eq!(class, expected);
    }
}
