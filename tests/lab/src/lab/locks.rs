//! ReadOnly locks, set and removed behind Azure's back.

use super::{Lab, LabError};
use crate::{
    Kind, ResourceId,
    arm::route::{Route, Target},
    shared::Shared,
    world::World,
};

impl Lab {
    /// Puts a ReadOnly lock on a subscription, resource group or resource (its ID): what is in it can only be read.
    pub fn lock(&self, scope: impl ToString) -> Result<(), LabError> {
        self.shared().lock(&scope.to_string())
    }

    /// Removes the lock from where it was put.
    pub fn unlock(&self, scope: impl ToString) -> Result<(), LabError> {
        self.shared().unlock(&scope.to_string())
    }
}

impl Shared {
    pub(crate) fn lock(&self, scope: &str) -> Result<(), LabError> {
        let mut world = self.world();
        let scope = scope.trim_end_matches('/');
        if !exists(&world, scope) {
            return Err(LabError::Missing(format!(
                "subscription, resource group or resource {scope:?}"
            )));
        }
        world.locks.insert(scope.to_ascii_lowercase(), scope.into());
        Ok(())
    }

    pub(crate) fn unlock(&self, scope: &str) -> Result<(), LabError> {
        let key = scope.trim_end_matches('/').to_ascii_lowercase();
        let removed = self.world().locks.remove(&key);
        removed
            .map(|_| ())
            .ok_or_else(|| LabError::Missing(format!("lock on {scope:?}")))
    }
}

fn exists(world: &World, scope: &str) -> bool {
    let Some(Route {
        subscription: Some(subscription),
        target,
    }) = Route::parse(scope)
    else {
        return false;
    };
    match target {
        Target::Subscription => world
            .subscriptions
            .contains_key(&subscription.to_ascii_lowercase()),
        Target::Group(group) => world.group(&subscription, &group).is_some(),
        Target::Resource { id } => resource_exists(world, &id),
        Target::Subscriptions
        | Target::Groups
        | Target::Skus
        | Target::Operation { .. }
        | Target::List { .. }
        | Target::ListKeys { .. }
        | Target::Access { .. } => false,
    }
}

fn resource_exists(world: &World, id: &ResourceId) -> bool {
    let key = id.key();
    match id.kind {
        Kind::Disk => world.disks.contains_key(&key),
        Kind::Snapshot => world.snapshots.contains_key(&key),
        Kind::DiskEncryptionSet | Kind::DiskAccess | Kind::VirtualMachine => {
            world.registered.contains_key(&key)
        }
        Kind::StorageAccount => world.storage_accounts.contains_key(&key),
    }
}
