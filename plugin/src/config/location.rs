//! A location's settings together with what its credentials say of the cluster.

use super::Settings;
use crate::model::{DiskId, InvalidId, ResourceGroup, Sku};

/// A VolumeSnapshotLocation.
#[derive(Clone, Debug, PartialEq)]
pub struct Location {
    /// Its config.
    pub settings: Settings,
    /// The cluster's resource group: `AZURE_SUBSCRIPTION_ID` and `AZURE_RESOURCE_GROUP` of the credentials.
    pub cluster: ResourceGroup,
}

impl Location {
    /// The location with these settings, for the cluster whose disks are in that group.
    pub fn new(settings: Settings, cluster: ResourceGroup) -> Self {
        Self { settings, cluster }
    }

    /// Where snapshots go.
    pub fn snapshots(&self) -> ResourceGroup {
        self.group(&self.settings.subscription, &self.settings.resource_group)
    }

    /// Where disks are restored to.
    pub fn restored(&self) -> ResourceGroup {
        self.group(
            &self.settings.target_subscription,
            &self.settings.target_resource_group,
        )
    }

    /// The disk that a volume ID means: a full resource ID, or a bare name in the cluster's group, as the stock plugin
    /// stored it.
    ///
    /// # Errors
    /// If it is neither.
    pub fn disk(&self, volume: &str) -> Result<DiskId, InvalidId> {
        named(volume, &self.cluster)
    }

    /// The same for a disk that a restore made.
    ///
    /// # Errors
    /// If it is neither.
    pub fn restored_disk(&self, volume: &str) -> Result<DiskId, InvalidId> {
        named(volume, &self.restored())
    }

    /// The SKU to restore a disk of that SKU with.
    pub fn mapped(&self, sku: &Sku) -> Sku {
        let mapping = &self.settings.sku_mapping;
        mapping
            .iter()
            .find(|(from, _)| from == sku)
            .map_or_else(|| sku.clone(), |(_, to)| to.clone())
    }

    fn group(&self, subscription: &Option<String>, name: &Option<String>) -> ResourceGroup {
        ResourceGroup {
            subscription: subscription
                .as_ref()
                .unwrap_or(&self.cluster.subscription)
                .clone(),
            name: name.as_ref().unwrap_or(&self.cluster.name).clone(),
        }
    }
}

fn named(volume: &str, group: &ResourceGroup) -> Result<DiskId, InvalidId> {
    let bare = DiskId::new(group.clone(), volume).to_string();
    match bare.parse() {
        Ok(id) if !volume.contains('/') => Ok(id),
        _ => volume.parse(),
    }
}
