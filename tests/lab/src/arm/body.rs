//! Request bodies of disks and snapshots. What Azure does not know is refused; what is read-only is
//! ignored, and noted in the request log.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::refusal::Refusal;
use crate::web::Call;

pub(crate) type Tags = BTreeMap<String, String>;

/// A disk's or a snapshot's body.
#[derive(Clone, Debug, Deserialize)]
#[serde(
    rename_all = "camelCase",
    deny_unknown_fields,
    bound(deserialize = "P: DeserializeOwned")
)]
pub(crate) struct Body<P> {
    pub(crate) location: Option<String>,
    pub(crate) tags: Option<Tags>,
    pub(crate) sku: Option<SkuBody>,
    pub(crate) zones: Option<Vec<String>>,
    #[serde(rename = "extendedLocation")]
    _extended_location: Option<Value>,
    pub(crate) properties: Option<P>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SkuBody {
    pub(crate) name: Option<String>,
    /// Read-only.
    #[serde(rename = "tier")]
    _tier: Option<String>,
}

/// `properties` of a disk that a request can set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct DiskProperties {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) os_type: Option<String>,
    #[serde(rename = "hyperVGeneration", skip_serializing_if = "Option::is_none")]
    pub(crate) hyper_v_generation: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) creation_data: Option<CreationData>,
    #[serde(rename = "diskSizeGB", skip_serializing_if = "Option::is_none")]
    pub(crate) disk_size_gib: Option<u64>,
    #[serde(rename = "diskIOPSReadWrite", skip_serializing_if = "Option::is_none")]
    pub(crate) iops: Option<u64>,
    #[serde(rename = "diskMBpsReadWrite", skip_serializing_if = "Option::is_none")]
    pub(crate) mbps: Option<u64>,
    #[serde(rename = "diskIOPSReadOnly", skip_serializing_if = "Option::is_none")]
    pub(crate) iops_read_only: Option<u64>,
    #[serde(rename = "diskMBpsReadOnly", skip_serializing_if = "Option::is_none")]
    pub(crate) mbps_read_only: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) encryption: Option<Encryption>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) encryption_settings_collection: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_shares: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) network_access_policy: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) disk_access_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) public_network_access: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data_access_auth_mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tier: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bursting_enabled: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) purchase_plan: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) supported_capabilities: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) supports_hibernation: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) security_profile: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) optimized_for_frequent_attach: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) availability_policy: Option<Value>,
}

/// `properties` of a snapshot that a request can set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct SnapshotProperties {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) os_type: Option<String>,
    #[serde(rename = "hyperVGeneration", skip_serializing_if = "Option::is_none")]
    pub(crate) hyper_v_generation: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) creation_data: Option<CreationData>,
    #[serde(rename = "diskSizeGB", skip_serializing_if = "Option::is_none")]
    pub(crate) disk_size_gib: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) incremental: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) encryption: Option<Encryption>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) encryption_settings_collection: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) network_access_policy: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) disk_access_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) public_network_access: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data_access_auth_mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) purchase_plan: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) supported_capabilities: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) supports_hibernation: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) security_profile: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) copy_completion_error: Option<Value>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct CreationData {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) create_option: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) source_resource_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) source_uri: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) storage_account_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) image_reference: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) gallery_image_reference: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) elastic_san_resource_id: Option<String>,
    #[serde(rename = "securityDataUri", skip_serializing_if = "Option::is_none")]
    pub(crate) security_data_uri: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) upload_size_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) logical_sector_size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) performance_plus: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) provisioned_bandwidth_copy_speed: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) instant_access_duration_minutes: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Encryption {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) disk_encryption_set_id: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<String>,
}

/// Read-only members of the body, of `properties` and of `properties.creationData`.
const READ_ONLY: [(&str, &[&str]); 3] = [
    (
        "",
        &[
            "id",
            "name",
            "type",
            "managedBy",
            "managedByExtended",
            "systemData",
        ],
    ),
    (
        "/properties",
        &[
            "provisioningState",
            "timeCreated",
            "uniqueId",
            "diskSizeBytes",
            "diskState",
            "propertyUpdatesInProgress",
            "shareInfo",
            "completionPercent",
            "incrementalSnapshotFamilyId",
            "burstingEnabledTime",
            "LastOwnershipUpdateTime",
            "snapshotAccessState",
        ],
    ),
    ("/properties/creationData", &["sourceUniqueId"]),
];

/// Reads a body and says which read-only members it had.
pub(crate) fn parse<P: DeserializeOwned>(call: &Call) -> Result<(Body<P>, Vec<String>), Refusal> {
    let media = call.header("content-type").unwrap_or_default();
    if !media.to_ascii_lowercase().starts_with("application/json") {
        return Err(Refusal::MediaType(media.into()));
    }
    let mut value: Value =
        serde_json::from_slice(&call.body).map_err(|error| Refusal::Content(error.to_string()))?;
    let mut ignored = Vec::new();
    for (pointer, names) in READ_ONLY {
        if let Some(Value::Object(object)) = value.pointer_mut(pointer) {
            let found = names.iter().filter(|name| object.remove(**name).is_some());
            ignored.extend(found.map(|name| {
                format!("{pointer}/{name}")
                    .trim_start_matches('/')
                    .replace('/', ".")
            }));
        }
    }
    let body = serde_json::from_value(value)
        .map_err(|error| Refusal::Content(azure_words(&error.to_string())))?;
    Ok((body, ignored))
}

/// `Could not find member 'x'`, as Azure says it.
fn azure_words(message: &str) -> String {
    match message
        .strip_prefix("unknown field `")
        .and_then(|rest| rest.split_once('`'))
    {
        Some((name, _)) => {
            format!("Could not find member '{name}' on object of type 'ResourceDefinition'")
        }
        None => message.into(),
    }
}

/// `stored` with what `asked` sets.
pub(crate) fn overlay<P: Serialize + DeserializeOwned>(
    stored: &P,
    asked: &P,
) -> Result<P, Refusal> {
    let mut value = to_map(stored);
    merge(&mut value, to_map(asked));
    serde_json::from_value(Value::Object(value))
        .map_err(|error| Refusal::Content(error.to_string()))
}

fn merge(stored: &mut Map<String, Value>, asked: Map<String, Value>) {
    for (name, value) in asked {
        match (stored.get_mut(&name), value) {
            (Some(Value::Object(stored)), Value::Object(asked)) => merge(stored, asked),
            (_, value) => {
                stored.insert(name, value);
            }
        }
    }
}

pub(crate) fn to_map(value: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(value) {
        Ok(Value::Object(map)) => map,
        Ok(_) | Err(_) => Map::new(),
    }
}
