//! The lab's own threads: a runtime that no test's clock or blocking call reaches.

use std::{
    net::SocketAddr,
    sync::{Arc, mpsc},
    thread,
};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::LabError;
use crate::{
    control,
    shared::Shared,
    store::Store,
    web::{Door, listener::listen},
    world::World,
};

/// The threads. Dropping this ends all that they do and waits for them.
#[derive(Debug)]
pub(super) struct Running {
    end: CancellationToken,
    thread: Option<thread::JoinHandle<()>>,
}

/// What the lab's thread hands out once it listens.
type Ready = Result<(Arc<Shared>, Addresses), LabError>;
/// Of the doors: cloud, metadata, control.
type Addresses = [SocketAddr; 3];

impl Running {
    /// Listens on the addresses of the world's settings.
    pub(super) fn start(
        world: World,
        store: Store,
        tls: Arc<rustls::ServerConfig>,
    ) -> Result<(Self, Arc<Shared>, Addresses), LabError> {
        let end = CancellationToken::new();
        let (sender, receiver) = mpsc::channel();
        let ending = end.clone();
        let thread = thread::Builder::new().name("lab".into()).spawn(move || {
            run(world, store, tls, ending, &sender);
        })?;
        let running = Self {
            end,
            thread: Some(thread),
        };
        let ready = receiver
            .recv()
            .map_err(|_| LabError::Thread("it never listened".into()))?;
        let (shared, addresses) = ready?;
        Ok((running, shared, addresses))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(
    world: World,
    store: Store,
    tls: Arc<rustls::ServerConfig>,
    end: CancellationToken,
    ready: &mpsc::Sender<Ready>,
) {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = match builder
        .worker_threads(2)
        .thread_name("lab-worker")
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = ready.send(Err(error.into()));
            return;
        }
    };
    let handle = runtime.handle().clone();
    runtime.block_on(async {
        let addresses = [
            (world.settings.listen, "listen"),
            (world.settings.imds, "imds"),
            (world.settings.control, "control"),
        ];
        let mut doors = Vec::new();
        for (address, door) in addresses {
            match bind(address, door).await {
                Ok(bound) => doors.push(bound),
                Err(error) => {
                    let _ = ready.send(Err(error));
                    return;
                }
            }
        }
        let shared = Shared::new(world, store, handle);
        let Ok([cloud, imds, control]) = <[_; 3]>::try_from(doors) else {
            return;
        };
        let addresses = [cloud.1, imds.1, control.1];
        let acceptor = tokio_rustls::TlsAcceptor::from(tls);
        let cloud = listen(
            Arc::clone(&shared),
            cloud.0,
            Some(acceptor),
            Door::Cloud,
            end.clone(),
        );
        let imds = listen(
            Arc::clone(&shared),
            imds.0,
            None,
            Door::Metadata,
            end.clone(),
        );
        let control = control::serve(Arc::clone(&shared), control.0, end.clone());
        let _ = ready.send(Ok((shared, addresses)));
        tokio::join!(cloud, imds, control);
    });
}

async fn bind(
    address: SocketAddr,
    door: &'static str,
) -> Result<(TcpListener, SocketAddr), LabError> {
    let failed = |source| LabError::Listen {
        address,
        door,
        source,
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let local = listener.local_addr().map_err(failed)?;
    Ok((listener, local))
}
