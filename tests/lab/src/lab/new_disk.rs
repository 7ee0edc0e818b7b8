//! The disk that a test asks for.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{ResourceId, Sku};

/// A disk to be made at once.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct NewDisk {
    /// Its ID; the resource group must exist.
    pub id: ResourceId,
    /// SKU (Premium_LRS).
    #[serde(default = "premium")]
    pub sku: Sku,
    /// Size in GiB (1).
    #[serde(default = "one")]
    pub gib: u64,
    /// Region (westeurope).
    #[serde(default = "region")]
    pub location: String,
    /// Zone (none).
    #[serde(default)]
    pub zone: Option<String>,
    /// Tags.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// What else ARM's `properties` take: `diskIOPSReadWrite`, `encryption`, …
    #[serde(default)]
    pub properties: Map<String, Value>,
}

fn premium() -> Sku {
    Sku::PremiumLrs
}

fn one() -> u64 {
    1
}

fn region() -> String {
    "westeurope".into()
}

impl NewDisk {
    /// A Premium SSD of 1 GiB in westeurope, in no zone.
    pub fn new(id: ResourceId) -> Self {
        Self {
            id,
            sku: premium(),
            gib: one(),
            location: region(),
            zone: None,
            tags: BTreeMap::new(),
            properties: Map::new(),
        }
    }
}
