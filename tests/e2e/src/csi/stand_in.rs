//! What stands in for azuredisk-csi-driver's controller service where that is not to be had: a CSI driver, for
//! snapshots only, on a unix socket. It makes group snapshots too, which the real one does not.

mod answers;
mod groups;
mod snapshots;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Weak},
    time::Duration,
};

use anyhow::Result;
use stillpoint_lab::Lab;
use tokio::{
    net::UnixListener,
    runtime::{Builder, Runtime},
};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;

use snapshots::Snapshots;

/// The messages and services.
mod proto {
    #![allow(missing_docs, unreachable_pub, clippy::all)]
    tonic::include_proto!("csi.v1");
}
use proto::{
    controller_server::ControllerServer, group_controller_server::GroupControllerServer,
    identity_server::IdentityServer,
};

/// The driver, which can be killed and started again. It ends when dropped.
#[derive(Debug)]
pub(super) struct StandIn {
    lab: Weak<Lab>,
    socket: PathBuf,
    poll: Duration,
    /// A runtime of its own: its end is the end of all that it does.
    server: Option<Runtime>,
}

impl StandIn {
    /// One that is not started yet, and will ask for the end of what it began every `poll`.
    pub(super) fn new(lab: &Arc<Lab>, socket: &Path, poll: Duration) -> Self {
        Self {
            lab: Arc::downgrade(lab),
            socket: socket.to_owned(),
            poll,
            server: None,
        }
    }

    /// Begins to serve, with nothing remembered of what it did before.
    pub(super) fn start(&mut self) -> Result<()> {
        self.kill();
        let _ = std::fs::remove_file(&self.socket);
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let listener = {
            let _inside = runtime.enter();
            UnixListener::bind(&self.socket)?
        };
        let snapshots = Arc::new(Snapshots::new(self.lab.clone(), self.poll));
        let groups = groups::Groups(Arc::clone(&snapshots));
        runtime.spawn(async {
            let server = Server::builder()
                .add_service(IdentityServer::new(answers::Identity))
                .add_service(ControllerServer::from_arc(snapshots))
                .add_service(GroupControllerServer::new(groups));
            let connections = UnixListenerStream::new(listener);
            if let Err(error) = server.serve_with_incoming(connections).await {
                eprintln!("the CSI driver's stand-in ended: {error}");
            }
        });
        self.server = Some(runtime);
        Ok(())
    }

    /// Ends it in the middle of whatever it does.
    pub(super) fn kill(&mut self) {
        if let Some(server) = self.server.take() {
            server.shutdown_background();
        }
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.kill();
    }
}
