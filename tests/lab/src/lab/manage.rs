//! What a test, or the control API, does to the cloud behind Azure's back.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use serde_json::{Value, json};

use super::{Lab, LabError, NewDisk};
use crate::{
    Fault, Identity, Kind, Moment, RequestRecord, ResourceId, Settings, SnapshotView,
    arm::{disks, facts, lifecycle, refusal::Refusal, views},
    shared::Shared,
    world::{Group, Provisioning},
};

impl From<Refusal> for LabError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused {
            code: refusal.status_and_code().1,
            message: refusal.to_string(),
        }
    }
}

impl Lab {
    /// Adds a subscription of a tenant, which is added too.
    pub fn add_subscription(&self, id: &str, tenant: &str) {
        self.shared().add_subscription(id, tenant);
    }

    /// Adds a resource group.
    pub fn add_resource_group(
        &self,
        subscription: &str,
        name: &str,
        location: &str,
    ) -> Result<(), LabError> {
        self.shared()
            .add_resource_group(subscription, name, location)
    }

    /// Adds an identity, or replaces the one with its client ID.
    pub fn add_identity(&self, identity: Identity) {
        self.shared().add_identity(identity);
    }

    /// Every action that an identity needed so far, whether it was allowed or not.
    pub fn actions(&self, client_id: &str) -> BTreeSet<String> {
        self.shared().world().actions.of(client_id)
    }

    /// Forgets all tokens: who holds one gets 401.
    pub fn revoke_tokens(&self) {
        self.shared().world().tokens.clear();
    }

    /// Registers a disk encryption set or a disk access.
    pub fn register(&self, id: &ResourceId, location: &str) {
        self.shared().register(id, location);
    }

    /// Makes a disk at once, by Azure's rules.
    pub fn create_disk(&self, disk: &NewDisk) -> Result<ResourceId, LabError> {
        self.shared().create_disk(disk)
    }

    /// Deletes a disk at once, attached or not.
    pub fn delete_disk(&self, id: &ResourceId) {
        lifecycle::remove_disk(&mut self.shared().world(), &id.key());
    }

    /// Attaches a disk to a virtual machine, or detaches it.
    pub fn attach(&self, disk: &ResourceId, machine: Option<ResourceId>) -> Result<(), LabError> {
        self.shared().attach(disk, machine)
    }

    /// A disk as GET shows it.
    pub fn disk(&self, id: &ResourceId) -> Option<Value> {
        self.shared().world().disks.get(&id.key()).map(views::disk)
    }

    /// All disks' IDs.
    pub fn disks(&self) -> Vec<ResourceId> {
        self.shared()
            .world()
            .disks
            .values()
            .map(|disk| disk.id.clone())
            .collect()
    }

    /// The file that is the disk: to be formatted and loop-mounted.
    pub fn disk_file(&self, id: &ResourceId) -> Option<PathBuf> {
        self.shared()
            .world()
            .disks
            .get(&id.key())
            .map(|disk| disk.file.clone())
    }

    /// A snapshot with its moments.
    pub fn snapshot(&self, id: &ResourceId) -> Option<SnapshotView> {
        self.shared()
            .world()
            .snapshots
            .get(&id.key())
            .map(facts::of)
    }

    /// All snapshots with their moments.
    pub fn snapshots(&self) -> Vec<SnapshotView> {
        self.shared()
            .world()
            .snapshots
            .values()
            .map(facts::of)
            .collect()
    }

    /// Makes a snapshot look as if all of it had happened so much earlier: its `timeCreated`, and the times that its
    /// maker wrote into its tags (RFC 3339). Refused while Azure still makes it.
    pub fn backdate_snapshot(&self, id: &ResourceId, by: Duration) -> Result<(), LabError> {
        self.shared().backdate_snapshot(id, by)
    }

    /// A copy of a snapshot's data in a file of its own: mounting it does not touch the snapshot.
    pub fn copy_of(&self, id: &ResourceId) -> Result<PathBuf, LabError> {
        self.shared().copy_of(id)
    }

    /// Arms a fault.
    pub fn inject(&self, fault: Fault) {
        self.shared().world().faults.arm(fault);
    }

    /// Faults that are armed and not used up.
    pub fn faults(&self) -> Vec<Fault> {
        self.shared().world().faults.pending()
    }

    /// Disarms all faults.
    pub fn clear_faults(&self) {
        self.shared().world().faults.clear();
    }

    /// All requests since the start or [`Lab::clear_requests`].
    pub fn requests(&self) -> Vec<RequestRecord> {
        self.shared().world().log.records()
    }

    /// Empties the request log.
    pub fn clear_requests(&self) {
        self.shared().world().log.clear();
    }

    /// The settings as they are.
    pub fn settings(&self) -> Settings {
        self.shared().world().settings.clone()
    }

    /// Changes the settings; the request buckets start full. Directory, pool and addresses stay.
    pub fn change_settings(&self, change: impl FnOnce(&mut Settings)) {
        self.shared().change_settings(change);
    }
}

impl Shared {
    pub(crate) fn add_subscription(&self, id: &str, tenant: &str) {
        self.world().add_subscription(id, tenant);
    }

    pub(crate) fn add_resource_group(
        &self,
        subscription: &str,
        name: &str,
        location: &str,
    ) -> Result<(), LabError> {
        let mut world = self.world();
        let found = world
            .subscriptions
            .get_mut(&subscription.to_ascii_lowercase());
        let found =
            found.ok_or_else(|| LabError::Missing(format!("subscription {subscription}")))?;
        let group = Group {
            name: name.into(),
            location: location.into(),
        };
        found.groups.insert(name.to_ascii_lowercase(), group);
        Ok(())
    }

    pub(crate) fn add_identity(&self, identity: Identity) {
        let mut world = self.world();
        world.tenants.insert(identity.tenant.to_ascii_lowercase());
        world
            .identities
            .retain(|known| known.client_id != identity.client_id);
        world.identities.push(identity);
    }

    pub(crate) fn register(&self, id: &ResourceId, location: &str) {
        self.world()
            .registered
            .insert(id.key(), (id.clone(), location.into()));
    }

    pub(crate) fn create_disk(&self, new: &NewDisk) -> Result<ResourceId, LabError> {
        let id = &new.id;
        let mut properties = new.properties.clone();
        properties
            .entry("creationData")
            .or_insert(json!({"createOption": "Empty"}));
        properties.insert("diskSizeGB".into(), json!(new.gib));
        let body = json!({
            "location": new.location, "sku": {"name": new.sku}, "zones": new.zone.as_slice(), "tags": new.tags,
            "properties": properties,
        });
        let body =
            serde_json::from_value(body).map_err(|error| Refusal::Content(error.to_string()))?;
        let mut world = self.world();
        world
            .group(&id.subscription, &id.group)
            .ok_or_else(|| Refusal::Group(id.group.clone()))?;
        if world.disks.contains_key(&id.key()) {
            return Err(Refusal::NotAllowed(format!("Disk {id} exists already.")).into());
        }
        let (mut disk, source) = disks::build(&world, self, id, body, Moment::now())?;
        lifecycle::make_disk(
            source.as_ref().map(|source| &*source.file),
            &disk.file,
            disk.size_gib << 30,
        )?;
        disk.state = Provisioning::Succeeded;
        let made = disk.id.clone();
        world.disks.insert(id.key(), disk);
        Ok(made)
    }

    pub(crate) fn attach(
        &self,
        disk: &ResourceId,
        machine: Option<ResourceId>,
    ) -> Result<(), LabError> {
        let mut world = self.world();
        let found = world
            .disks
            .get_mut(&disk.key())
            .ok_or_else(|| LabError::Missing(format!("disk {disk}")))?;
        found.attached_to = machine;
        Ok(())
    }

    pub(crate) fn backdate_snapshot(&self, id: &ResourceId, by: Duration) -> Result<(), LabError> {
        let mut world = self.world();
        let snapshot = world
            .snapshots
            .get_mut(&id.key())
            .ok_or_else(|| LabError::Missing(format!("snapshot {id}")))?;
        if snapshot.state.running() {
            let state = snapshot.state.name();
            return Err(LabError::Settings(format!(
                "{id} is {state}: only what is finished can be backdated"
            )));
        }
        snapshot.accepted.system -= by;
        for value in snapshot.tags.iter_mut().flat_map(|tags| tags.values_mut()) {
            if let Ok(time) = value.parse::<jiff::Timestamp>() {
                *value = (time - by).to_string();
            }
        }
        Ok(())
    }

    pub(crate) fn copy_of(&self, id: &ResourceId) -> Result<PathBuf, LabError> {
        let world = self.world();
        let source = match id.kind {
            Kind::Snapshot => world
                .snapshots
                .get(&id.key())
                .map(|snapshot| snapshot.file.clone()),
            Kind::Disk => world.disks.get(&id.key()).map(|disk| disk.file.clone()),
            Kind::DiskEncryptionSet
            | Kind::DiskAccess
            | Kind::VirtualMachine
            | Kind::StorageAccount => None,
        };
        drop(world);
        let source = source.ok_or_else(|| LabError::Missing(format!("snapshot or disk {id}")))?;
        let copy = self.store.fresh("copy");
        crate::store::cut(&source, &copy)?;
        Ok(copy)
    }

    pub(crate) fn change_settings(&self, change: impl FnOnce(&mut Settings)) {
        let mut world = self.world();
        let Settings {
            directory,
            pool,
            listen,
            imds,
            control,
            ..
        } = world.settings.clone();
        let mut settings = world.settings.clone();
        change(&mut settings);
        world.settings = Settings {
            directory,
            pool,
            listen,
            imds,
            control,
            ..settings
        };
        world.buckets.clear();
    }
}
