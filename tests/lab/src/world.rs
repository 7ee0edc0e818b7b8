//! The state of the simulated cloud.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::{
    Cut, Identity, Moment, ResourceId, Settings, Sku,
    arm::{
        body::{DiskProperties, SnapshotProperties, Tags},
        operations::Operation,
    },
    entra::tokens::Token,
    fault::Faults,
    limits::Buckets,
    storage_account::StorageAccount,
    web::log::RequestLog,
};

/// Everything there is. Keys of maps are lower case.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) settings: Settings,
    pub(crate) tenants: BTreeSet<String>,
    pub(crate) subscriptions: BTreeMap<String, Subscription>,
    pub(crate) identities: Vec<Identity>,
    pub(crate) actions: Actions,
    pub(crate) disks: BTreeMap<String, Disk>,
    pub(crate) snapshots: BTreeMap<String, Snapshot>,
    /// Disk encryption sets and disk accesses, with their locations.
    pub(crate) registered: BTreeMap<String, (ResourceId, String)>,
    pub(crate) storage_accounts: BTreeMap<String, StorageAccount>,
    /// Scopes under a ReadOnly lock, as they were spelt.
    pub(crate) locks: BTreeMap<String, String>,
    pub(crate) operations: HashMap<String, Operation>,
    pub(crate) faults: Faults,
    pub(crate) log: RequestLog,
    pub(crate) buckets: HashMap<(String, String), Buckets>,
    pub(crate) tokens: HashMap<String, Token>,
    /// Audiences that ARM accepts.
    pub(crate) audiences: Vec<String>,
    random: StdRng,
}

/// What clients needed a right for.
#[derive(Debug, Default)]
pub(crate) struct Actions(Mutex<BTreeMap<String, BTreeSet<String>>>);

impl Actions {
    pub(crate) fn note(&self, client: &str, action: &str) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_client = noted.entry(client.to_lowercase()).or_default();
        of_client.insert(action.to_owned());
    }

    pub(crate) fn of(&self, client: &str) -> BTreeSet<String> {
        let noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        noted
            .get(&client.to_lowercase())
            .cloned()
            .unwrap_or_default()
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Subscription {
    pub(crate) id: String,
    pub(crate) tenant: String,
    pub(crate) groups: BTreeMap<String, Group>,
}

#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) location: String,
}

/// Where a resource is in its life. `Deleting` still answers a GET; then it is gone.
///
/// ```text
/// Creating ─► Succeeded ─► Deleting ─► (gone)
///     └─────► Failed ─────────┘
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Provisioning {
    Creating,
    Succeeded,
    Failed,
    Updating,
    Deleting,
}

impl Provisioning {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Creating => "Creating",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Updating => "Updating",
            Self::Deleting => "Deleting",
        }
    }

    pub(crate) fn running(self) -> bool {
        matches!(self, Self::Creating | Self::Updating | Self::Deleting)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Disk {
    pub(crate) id: ResourceId,
    pub(crate) location: String,
    pub(crate) zones: Vec<String>,
    pub(crate) sku: Sku,
    pub(crate) tags: Option<Tags>,
    pub(crate) properties: DiskProperties,
    pub(crate) source_unique_id: Option<String>,
    pub(crate) unique_id: String,
    pub(crate) size_gib: u64,
    pub(crate) state: Provisioning,
    pub(crate) operation: String,
    pub(crate) created: Moment,
    pub(crate) attached_to: Option<ResourceId>,
    pub(crate) file: PathBuf,
    /// When its last incremental snapshots were accepted.
    pub(crate) incrementals: VecDeque<Instant>,
}

#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) id: ResourceId,
    pub(crate) location: String,
    pub(crate) sku: Sku,
    pub(crate) tags: Option<Tags>,
    pub(crate) properties: SnapshotProperties,
    pub(crate) source: ResourceId,
    pub(crate) source_unique_id: String,
    pub(crate) family: String,
    pub(crate) unique_id: String,
    pub(crate) size_bytes: u64,
    pub(crate) incremental: bool,
    pub(crate) state: Provisioning,
    pub(crate) operation: String,
    pub(crate) file: PathBuf,
    pub(crate) accepted: Moment,
    /// The moments before and after the reflink.
    pub(crate) cut: Option<(Moment, Moment)>,
    pub(crate) succeeded: Option<Moment>,
    /// How long the background copy takes; none for what is instant.
    pub(crate) copy: Option<Duration>,
}

impl Snapshot {
    /// `completionPercent`.
    pub(crate) fn completion(&self, now: Instant) -> f64 {
        let (Some(copy), Some(since)) = (self.copy, self.succeeded) else {
            return if self.succeeded.is_some() { 100.0 } else { 0.0 };
        };
        let elapsed = now.saturating_duration_since(since.instant);
        if elapsed >= copy {
            100.0
        } else {
            (elapsed.as_secs_f64() / copy.as_secs_f64() * 100.0)
                .floor()
                .min(99.0)
        }
    }

    /// A PremiumV2 or Ultra snapshot that is not copied yet.
    pub(crate) fn pending(&self, now: Instant) -> bool {
        self.copy.is_some() && self.state != Provisioning::Failed && self.completion(now) < 100.0
    }
}

impl World {
    pub(crate) fn new(settings: Settings) -> Self {
        let random = StdRng::seed_from_u64(settings.seed);
        let audiences = [
            "https://management.azure.com",
            "https://management.core.windows.net",
            "https://management.chinacloudapi.cn",
            "https://management.core.chinacloudapi.cn",
            "https://management.usgovcloudapi.net",
            "https://management.core.usgovcloudapi.net",
        ];
        Self {
            settings,
            tenants: BTreeSet::new(),
            subscriptions: BTreeMap::new(),
            identities: Vec::new(),
            actions: Actions::default(),
            disks: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            registered: BTreeMap::new(),
            storage_accounts: BTreeMap::new(),
            locks: BTreeMap::new(),
            operations: HashMap::new(),
            faults: Faults::default(),
            log: RequestLog::default(),
            buckets: HashMap::new(),
            tokens: HashMap::new(),
            audiences: audiences.map(String::from).to_vec(),
            random,
        }
    }

    /// Where in the time of a snapshot its cut is, 0 to 1.
    pub(crate) fn cut_fraction(&mut self) -> f64 {
        match self.settings.snapshot.cut {
            Cut::Random => self.random.random::<f64>(),
            Cut::At(fraction) => fraction.clamp(0.0, 1.0),
        }
    }

    pub(crate) fn add_subscription(&mut self, id: &str, tenant: &str) {
        self.tenants.insert(tenant.to_ascii_lowercase());
        let subscription = Subscription {
            id: id.into(),
            tenant: tenant.to_ascii_lowercase(),
            groups: BTreeMap::new(),
        };
        self.subscriptions
            .entry(id.to_ascii_lowercase())
            .or_insert(subscription);
    }

    /// The group as it was named when it was made.
    pub(crate) fn group(&self, subscription: &str, name: &str) -> Option<&Group> {
        let subscription = self.subscriptions.get(&subscription.to_ascii_lowercase())?;
        subscription.groups.get(&name.to_ascii_lowercase())
    }
}
