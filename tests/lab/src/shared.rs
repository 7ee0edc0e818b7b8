//! What all parts of a running lab share: the world behind its lock, the store, the runtime.

use std::{
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{store::Store, world::World};

/// The running lab's inside.
#[derive(Debug)]
pub(crate) struct Shared {
    world: Mutex<World>,
    pub(crate) store: Store,
    runtime: tokio::runtime::Handle,
}

impl Shared {
    pub(crate) fn new(world: World, store: Store, runtime: tokio::runtime::Handle) -> Arc<Self> {
        Arc::new(Self {
            world: Mutex::new(world),
            store,
            runtime,
        })
    }

    /// The state. Never held across an await.
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs on the lab's own threads, whoever asks.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(task);
    }
}
