//! The unix socket: mode 0600, and only for root and the agent's own user.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use futures::{Stream, StreamExt as _};
use thiserror::Error;
use tokio::net::{UnixListener, UnixStream};
use tokio_stream::wrappers::UnixListenerStream;

/// Why the socket cannot be opened.
#[derive(Debug, Error)]
pub(crate) enum SocketError {
    #[error(
        "socket {}: another agent answers there: stop it, or choose a path with --socket (STILLPOINT_SOCKET)", .0.display()
    )]
    InUse(PathBuf),
    #[error("socket {}: {source}; expected a path where a socket can be made: set it with --socket (STILLPOINT_SOCKET)", .path.display())]
    Unusable { path: PathBuf, source: io::Error },
}

/// Connections of those who may ask.
pub(crate) fn open(
    path: &Path,
) -> Result<impl Stream<Item = io::Result<UnixStream>> + use<>, SocketError> {
    let listener = bind(path)?;
    let own = rustix::process::geteuid().as_raw();
    Ok(
        UnixListenerStream::new(listener).filter_map(move |connection| {
            let admitted = connection.map(|stream| admit(stream, own));
            std::future::ready(admitted.transpose())
        }),
    )
}

fn admit(stream: UnixStream, own: u32) -> Option<UnixStream> {
    match stream.peer_cred() {
        Ok(peer) if peer.uid() == own || peer.uid() == 0 => Some(stream),
        Ok(peer) => {
            tracing::warn!(
                uid = peer.uid(),
                expected = own,
                "connection of another user refused"
            );
            None
        }
        Err(error) => {
            tracing::warn!(%error, "connection of an unknown user refused");
            None
        }
    }
}

/// Takes the place of a socket that a dead agent left, but not of one that answers.
fn bind(path: &Path) -> Result<UnixListener, SocketError> {
    let unusable = |source| SocketError::Unusable {
        path: path.to_owned(),
        source,
    };
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(SocketError::InUse(path.to_owned()));
    }
    if let Some(directory) = path.parent() {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(directory)
            .map_err(unusable)?;
    }
    // Bound elsewhere and moved, so that it is never there with another mode.
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}", std::process::id()));
    let temporary = PathBuf::from(name);
    let _ = fs::remove_file(&temporary);
    let listener = UnixListener::bind(&temporary).map_err(unusable)?;
    fs::set_permissions(&temporary, Permissions::from_mode(0o600))
        .and_then(|()| fs::rename(&temporary, path))
        .map_err(unusable)?;
    Ok(listener)
}
