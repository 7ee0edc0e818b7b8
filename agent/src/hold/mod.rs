//! A hold: the filesystems of some volumes, frozen together for as long as someone holds on to it.

mod request;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use futures::future::{join_all, select_all};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
    time::Instant,
};

pub(crate) use self::request::Request;
use self::request::check_limit;
use crate::{
    error::HoldError,
    freeze::{Freezes, Lease, Outcome},
    mountinfo::Device,
    volume::{Listed, Resolver, Target},
};

/// Holds at once, those being asked for included. A node has some dozens of disks.
pub(crate) const MOST_HOLDS: usize = 256;
/// Looks at mount tables and the kubelet's records at once.
const LOOKING: usize = 16;
/// A thaw that is later than that is too late: by then the supervisor thaws, too.
const GRACE: Duration = Duration::from_secs(1);

/// What `status` shows of a hold.
#[derive(Clone, Debug)]
pub(crate) struct Info {
    pub(crate) request: Request,
    pub(crate) since: SystemTime,
    pub(crate) deadline: Instant,
}

/// All holds of this agent.
pub(crate) struct Holds {
    resolver: Resolver,
    freezes: Freezes,
    open: Mutex<Open>,
    places: Arc<Semaphore>,
    looking: Arc<Semaphore>,
}

#[derive(Default)]
struct Open {
    next: u64,
    holds: BTreeMap<u64, Info>,
}

impl Holds {
    pub(crate) fn new(resolver: Resolver, freezes: Freezes) -> Arc<Self> {
        Arc::new(Self {
            resolver,
            freezes,
            open: Mutex::default(),
            places: Arc::new(Semaphore::new(MOST_HOLDS)),
            looking: Arc::new(Semaphore::new(LOOKING)),
        })
    }

    /// A place for one more hold.
    pub(crate) fn place(&self) -> Result<Place, HoldError> {
        let place = self.places.clone().try_acquire_owned();
        place
            .map(Place)
            .map_err(|_| HoldError::TooMany { most: MOST_HOLDS })
            .inspect_err(|error| self.freezes.metrics().refused(error))
    }

    /// Freezes the filesystems of all volumes of `request`, at once; those that can be.
    pub(crate) async fn begin(
        self: &Arc<Self>,
        request: Request,
        place: Place,
    ) -> Result<Hold, HoldError> {
        request.check()?;
        let targets = self.resolve(request.volumes.clone()).await?;
        let leases = targets
            .into_iter()
            .zip(&request.volumes)
            .map(|(target, volume)| self.freeze(volume, target, &request.id, request.limit));
        let leases = join_all(leases).await;
        for (volume, lease) in request.volumes.iter().zip(&leases) {
            if let Err(error) = lease {
                self.freezes.metrics().refused(error);
                tracing::info!(hold = request.id, volume, reason = %error, "not frozen");
            }
        }
        Ok(self.keep(request, leases, place))
    }

    /// Freezes the filesystem on which `path` lies.
    pub(crate) async fn begin_at(
        self: &Arc<Self>,
        path: &Path,
        id: String,
        limit: Duration,
        holder: String,
    ) -> Result<Hold, HoldError> {
        check_limit("ttl", limit)?;
        let place = self.place()?;
        let frozen = async {
            let target = self.resolve_path(path).await?;
            let lease = self.freezes.acquire(&target, &id, limit).await?;
            Ok((target, lease))
        };
        let frozen = frozen.await;
        let (target, lease) = frozen.inspect_err(|error| self.freezes.metrics().refused(error))?;
        let request = Request {
            id,
            volumes: vec![target.volume],
            limit,
            holder,
        };
        Ok(self.keep(request, vec![Ok(lease)], place))
    }

    fn keep(
        self: &Arc<Self>,
        request: Request,
        leases: Vec<Result<Lease, HoldError>>,
        place: Place,
    ) -> Hold {
        let deadline = leases
            .iter()
            .flatten()
            .map(Lease::deadline)
            .min()
            .unwrap_or_else(Instant::now);
        let volumes = request.volumes.iter().cloned().zip(leases).collect();
        let info = Info {
            request,
            since: SystemTime::now(),
            deadline,
        };
        let mut open = self.open();
        let key = open.next;
        open.next += 1;
        open.holds.insert(key, info);
        Hold {
            volumes,
            listing: Listing {
                holds: self.clone(),
                key,
                _place: place,
            },
        }
    }

    async fn resolve(
        self: &Arc<Self>,
        volumes: Vec<String>,
    ) -> Result<Vec<Result<Target, HoldError>>, HoldError> {
        self.blocking(move |resolver| resolver.resolve(&volumes))
            .await
    }

    async fn resolve_path(self: &Arc<Self>, path: &Path) -> Result<Target, HoldError> {
        let path = path.to_owned();
        self.blocking(move |resolver| resolver.resolve_path(&path))
            .await?
    }

    /// The device of the filesystem on which `path` lies, whatever its state.
    pub(crate) async fn device_of(self: &Arc<Self>, path: &Path) -> Result<Device, HoldError> {
        let path = path.to_owned();
        self.blocking(move |resolver| resolver.device_of(&path))
            .await?
    }

    async fn freeze(
        self: &Arc<Self>,
        volume: &str,
        target: Result<Target, HoldError>,
        hold: &str,
        limit: Duration,
    ) -> Result<Lease, HoldError> {
        match self.freezes.acquire(&target?, hold, limit).await {
            // Unmounted since: perhaps mounted elsewhere by now.
            Err(HoldError::NotMounted { .. }) => {
                let again = self.resolve(vec![volume.to_owned()]).await?;
                let target = again.into_iter().next().ok_or(HoldError::Abandoned)??;
                self.freezes.acquire(&target, hold, limit).await
            }
            other => other,
        }
    }

    async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Resolver) -> T + Send + 'static,
    ) -> Result<T, HoldError> {
        // Threads are for thaws first of all.
        let turn = self.looking.clone().acquire_owned().await;
        let holds = self.clone();
        let look = move || {
            // Until it is done, whoever waits for it.
            let _turn = turn;
            work(&holds.resolver)
        };
        spawn_blocking(look)
            .await
            .map_err(|error| HoldError::Node(format!("looking for volumes: {error}")))
    }

    /// Looks at something else, in turn with those who look for volumes.
    pub(crate) async fn looking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, HoldError> {
        self.blocking(|_| work()).await
    }

    /// The holds that are open.
    pub(crate) fn list(&self) -> Vec<Info> {
        self.open().holds.values().cloned().collect()
    }

    /// The volumes of the node, and whether this agent has them frozen.
    pub(crate) async fn volumes(self: &Arc<Self>) -> Result<Vec<(Listed, bool)>, HoldError> {
        let listed = self.blocking(Resolver::list).await??;
        let state = |mut listed: Listed| {
            let mount = listed.mount.as_ref();
            let frozen = mount.is_some_and(|mount| self.freezes.is_frozen(mount.device));
            if let Some(mount) = mount
                && let Some(remaining) = self.freezes.resting(mount.device)
            {
                listed.refusal.get_or_insert(HoldError::Resting {
                    mount_point: mount.point.clone(),
                    device: mount.device,
                    remaining,
                });
            }
            (listed, frozen)
        };
        Ok(listed.into_iter().map(state).collect())
    }

    /// How many filesystems are frozen past their deadline.
    pub(crate) fn overdue(&self) -> usize {
        self.freezes.late(GRACE).len()
    }

    /// An error names the filesystems whose thaw is overdue.
    pub(crate) fn punctual(&self) -> Result<(), String> {
        let late = self.freezes.late(GRACE);
        if late.is_empty() {
            return Ok(());
        }
        let devices: Vec<_> = late.iter().map(ToString::to_string).collect();
        Err(format!("frozen past the deadline: {}", devices.join(", ")))
    }

    /// An error if no new hold would be accepted, whatever it asks for.
    pub(crate) fn accepting(&self) -> Result<(), String> {
        if self.freezes.is_closed() {
            return Err(HoldError::Stopping.to_string());
        }
        if self.places.available_permits() == 0 {
            return Err(HoldError::TooMany { most: MOST_HOLDS }.to_string());
        }
        Ok(())
    }

    /// Refuses new holds, and waits until all have ended.
    pub(crate) async fn drain(&self) {
        self.freezes.drain().await;
    }

    /// Thaws everything, for good.
    pub(crate) async fn stop(&self) {
        self.freezes.stop().await;
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Volumes held frozen.
#[must_use = "dropping the hold thaws its volumes"]
pub(crate) struct Hold {
    /// In the order of the request, with the reason where one could not be frozen.
    pub(crate) volumes: Vec<(String, Result<Lease, HoldError>)>,
    listing: Listing,
}

impl Hold {
    /// As the client chose it.
    pub(crate) fn id(&self) -> String {
        let open = self.listing.holds.open();
        let info = open.holds.get(&self.listing.key);
        info.map(|info| info.request.id.clone()).unwrap_or_default()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.volumes.iter().all(|(_, lease)| lease.is_err())
    }

    /// Waits until one of the volumes is not held any more: together they are worth nothing then.
    pub(crate) async fn over(&self) {
        let leases = self
            .volumes
            .iter()
            .filter_map(|(_, lease)| lease.as_ref().ok());
        let over: Vec<_> = leases.map(|lease| Box::pin(lease.over())).collect();
        if over.is_empty() {
            return;
        }
        select_all(over).await;
    }

    /// Lets go of all volumes at once; one outcome for each that was frozen. `by_itself`: the client has not let go, so
    /// none of the volumes was held to the end.
    pub(crate) async fn end(self, by_itself: bool) -> Vec<(String, Outcome)> {
        let leave = self.volumes.into_iter().filter_map(|(volume, lease)| {
            let lease = lease.ok()?;
            Some(async move { (volume, lease.leave().await) })
        });
        let mut outcomes = join_all(leave).await;
        if by_itself {
            let reason = outcomes
                .iter()
                .find_map(|(_, outcome)| outcome.lost.clone());
            let reason = reason.unwrap_or_else(|| "the agent ended the hold".into());
            for (_, outcome) in &mut outcomes {
                outcome.lost.get_or_insert_with(|| reason.clone());
            }
        }
        outcomes
    }
}

/// A hold's place in the list of open holds.
struct Listing {
    holds: Arc<Holds>,
    key: u64,
    _place: Place,
}

/// One of the places for holds.
#[must_use = "dropped, it is free for another hold"]
pub(crate) struct Place(
    #[expect(dead_code, reason = "given back when dropped")] OwnedSemaphorePermit,
);

impl Drop for Listing {
    fn drop(&mut self) {
        self.holds.open().holds.remove(&self.key);
    }
}
