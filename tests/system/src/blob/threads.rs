//! Threads that serve until they are dropped.

use std::{
    future::Future,
    net::{SocketAddr, TcpListener},
};

use anyhow::{Context as _, Result};
use tokio::runtime::{Builder, Runtime};

/// A runtime of its own. Dropping it ends what runs on it, without waiting.
#[derive(Debug)]
pub(super) struct Threads(Option<Runtime>);

impl Threads {
    pub(super) fn start(name: &str) -> Result<Self> {
        let mut builder = Builder::new_multi_thread();
        let runtime = builder
            .worker_threads(2)
            .thread_name(name)
            .enable_all()
            .build()?;
        Ok(Self(Some(runtime)))
    }

    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = &self.0 {
            runtime.spawn(task);
        }
    }

    /// Listens, to be served on these threads; port 0 is any.
    pub(super) fn listen(
        &self,
        address: SocketAddr,
    ) -> Result<(tokio::net::TcpListener, SocketAddr)> {
        let runtime = self.0.as_ref().context("the threads have ended")?;
        let listener =
            TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
        listener.set_nonblocking(true)?;
        let bound = listener.local_addr()?;
        let _within = runtime.enter();
        Ok((tokio::net::TcpListener::from_std(listener)?, bound))
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
