//! A connection that can be cut: a unix socket that passes everything on to another.

use std::path::{Path, PathBuf};

use anyhow::Result;
use tokio::{
    io::copy_bidirectional,
    net::{UnixListener, UnixStream},
    task::{JoinHandle, JoinSet},
};

/// Passes connections on as long as it lives; dropping it breaks them all.
#[derive(Debug)]
pub struct Relay {
    socket: PathBuf,
    task: JoinHandle<()>,
}

impl Relay {
    /// Listens on `socket` and passes on to `target`. Within a runtime.
    pub fn start(socket: &Path, target: &Path) -> Result<Self> {
        let listener = UnixListener::bind(socket)?;
        let target = target.to_owned();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                if let Ok(mut server) = UnixStream::connect(&target).await {
                    connections.spawn(async move {
                        let _ = copy_bidirectional(&mut client, &mut server).await;
                    });
                }
            }
        });
        Ok(Self {
            socket: socket.to_owned(),
            task,
        })
    }

    /// Where it listens.
    pub fn socket(&self) -> &Path {
        &self.socket
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}
