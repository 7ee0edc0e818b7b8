//! A proxy between a plugin and the blob server that breaks what it is told to, and keeps a log.
//!
//! ```text
//! request ─► Refuse, CloseBefore, Stall ─► passed on (CutRequest) ─► answer ─► Replace, CloseAfter, Header ─►
//!     passed back (CutAnswer, StallAnswer)
//! ```
//!
//! Bodies are streams. A client's connection has one of its own to the server, and both end together: what breaks on
//! one side is broken on the other.

mod body;
mod connection;
mod fault;
mod log;
mod upstream;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::Result;
use rustls::ClientConfig;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use self::{fault::Faults, log::Log};
pub use self::{
    fault::{Action, Fault, Refusal},
    log::Record,
};
use super::{Authority, threads::Threads};

/// The proxy; dropping it breaks all connections.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    _threads: Threads,
}

impl Proxy {
    /// Starts one before `target`, on a free port of this host.
    pub fn start(authority: &Authority, target: SocketAddr) -> Result<Self> {
        let threads = Threads::start("proxy")?;
        let (listener, address) = threads.listen(([127, 0, 0, 1], 0).into())?;
        let shared = Arc::new(Shared {
            target,
            tls: authority.client()?,
            state: Mutex::default(),
            cleared: watch::Sender::new(0),
        });
        let acceptor = TlsAcceptor::from(authority.server()?);
        threads.spawn(connection::accept(Arc::clone(&shared), listener, acceptor));
        Ok(Self {
            address,
            shared,
            _threads: threads,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// An account as it is reached through it.
    pub fn endpoint(&self, account: &str) -> String {
        format!("https://{}/{account}", self.address)
    }

    /// Arms a fault.
    pub fn arm(&self, fault: Fault) {
        self.shared.state().faults.arm(fault);
    }

    /// Faults that were armed and not met as often as asked. One that is met always is never among them.
    pub fn pending(&self) -> Vec<Fault> {
        self.shared.state().faults.pending()
    }

    /// Disarms all faults; what stalls goes on.
    pub fn clear_faults(&self) {
        let mut state = self.shared.state();
        state.faults.clear();
        self.shared.cleared.send_modify(|count| *count += 1);
    }

    /// All requests since the start or the last clear, in the order in which they came.
    pub fn requests(&self) -> Vec<Record> {
        self.shared.state().log.records()
    }

    /// How many requests were open at once at most, since the start or the last clear.
    pub fn most_at_once(&self) -> usize {
        self.shared.state().log.most_at_once()
    }

    /// Forgets the requests.
    pub fn clear_requests(&self) {
        self.shared.state().log.clear();
    }
}

#[derive(Debug)]
struct Shared {
    target: SocketAddr,
    tls: Arc<ClientConfig>,
    state: Mutex<State>,
    /// Counts how often the faults were cleared.
    cleared: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    faults: Faults,
    log: Log,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
