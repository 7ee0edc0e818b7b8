//! The unix socket that the host connects to, and the private directory it lies in.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use rustix::fs::Gid;
use tempfile::{NamedTempFile, TempDir};
use thiserror::Error;
use tokio::net::UnixListener;

use super::environment::Environment;

/// The socket could not be made.
#[derive(Debug, Error)]
pub enum SocketError {
    /// No directory for it.
    #[error(
        "no private directory for the socket in {}: TMPDIR or PLUGIN_UNIX_SOCKET_DIR must name a writable one",
        parent.display()
    )]
    Directory {
        /// Where it was tried.
        parent: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Paths of sockets are at most 107 bytes long, for one.
    #[error("cannot listen on a socket in {}: is its path longer than about 80 bytes?", directory.display())]
    Bind {
        /// Where it was tried.
        directory: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The host wants another group.
    #[error("cannot give the socket to the group {group:?} (PLUGIN_UNIX_SOCKET_GROUP)")]
    Group {
        /// As the host named it.
        group: String,
        /// Why not.
        source: io::Error,
    },
}

/// A listening socket; the drop removes it and the directory we made for it.
pub(super) struct Socket {
    listener: NamedTempFile<UnixListener>,
    // Dropped after the socket in it.
    _directory: Option<TempDir>,
}

impl Socket {
    /// In a directory of our own, or in the host's, which it made private (and whose files it may know by their
    /// last name only).
    pub(super) fn bind(environment: &Environment) -> Result<Self, SocketError> {
        let group = environment
            .socket_group
            .as_deref()
            .map(find_group)
            .transpose()?;
        let own = match environment.socket_directory {
            Some(_) => None,
            None => Some(private_directory(group)?),
        };
        let directory = own
            .as_ref()
            .map(TempDir::path)
            .or(environment.socket_directory.as_deref())
            .unwrap_or(Path::new("."));
        let listener = tempfile::Builder::new()
            .prefix("plugin-")
            .suffix(".sock")
            .make_in(directory, |path| UnixListener::bind(path))
            .map_err(|source| SocketError::Bind {
                directory: directory.to_owned(),
                source,
            })?;
        restrict(listener.path(), group, (0o600, 0o660))?;
        Ok(Self {
            listener,
            _directory: own,
        })
    }

    pub(super) fn path(&self) -> &Path {
        self.listener.path()
    }

    pub(super) fn listener(&self) -> &UnixListener {
        self.listener.as_file()
    }
}

fn private_directory(group: Option<Group<'_>>) -> Result<TempDir, SocketError> {
    let parent = std::env::temp_dir();
    let directory = tempfile::Builder::new()
        .prefix("stillpoint-")
        .permissions(fs::Permissions::from_mode(0o700))
        .tempdir_in(&parent)
        .map_err(|source| SocketError::Directory { parent, source })?;
    if group.is_some() {
        restrict(directory.path(), group, (0o700, 0o750))?;
    }
    Ok(directory)
}

#[derive(Clone, Copy)]
struct Group<'a> {
    name: &'a str,
    id: Gid,
}

/// `modes`: without and with a group.
fn restrict(path: &Path, group: Option<Group<'_>>, modes: (u32, u32)) -> Result<(), SocketError> {
    let mode = match group {
        None => modes.0,
        Some(Group { name, id }) => {
            rustix::fs::chown(path, None, Some(id)).map_err(|error| SocketError::Group {
                group: name.to_owned(),
                source: error.into(),
            })?;
            modes.1
        }
    };
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(|source| {
        SocketError::Bind {
            directory: path.to_owned(),
            source,
        }
    })
}

/// A number, or a name in /etc/group.
fn find_group(name: &str) -> Result<Group<'_>, SocketError> {
    let failed = |source| SocketError::Group {
        group: name.to_owned(),
        source,
    };
    let id = match name.parse() {
        Ok(id) => id,
        Err(_) => {
            let groups = fs::read_to_string("/etc/group").map_err(failed)?;
            id_in(&groups, name).ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?
        }
    };
    Ok(Group {
        name,
        id: Gid::from_raw(id),
    })
}

fn id_in(groups: &str, name: &str) -> Option<u32> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then(|| fields.nth(1)?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn own_directory_is_private_and_removed() {
        let socket = Socket::bind(&Environment::default()).unwrap();
        let directory = socket.path().parent().unwrap().to_owned();
        assert_eq!(mode(&directory), 0o700);
        assert_eq!(mode(socket.path()), 0o600);
        drop(socket);
        assert!(!directory.exists());
    }

    #[tokio::test]
    async fn hosts_directory_is_used_and_kept() {
        let directory = tempfile::tempdir().unwrap();
        let environment = Environment {
            socket_directory: Some(directory.path().to_owned()),
            ..Environment::default()
        };
        let socket = Socket::bind(&environment).unwrap();
        assert_eq!(socket.path().parent(), Some(directory.path()));
        drop(socket);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn group_may_connect() {
        let group = rustix::process::getgid().as_raw().to_string();
        let environment = Environment {
            socket_group: Some(group.clone()),
            ..Environment::default()
        };
        let socket = Socket::bind(&environment).unwrap();
        assert_eq!(mode(socket.path()), 0o660);
        assert_eq!(mode(socket.path().parent().unwrap()), 0o750);
    }

    #[tokio::test]
    async fn errors_name_what_was_asked_for() {
        let environment = Environment {
            socket_group: Some("no-such-group".into()),
            ..Environment::default()
        };
        let error = Socket::bind(&environment).err().unwrap().to_string();
        assert!(error.contains("no-such-group"), "{error}");
        let environment = Environment {
            socket_directory: Some("/no/such/place".into()),
            ..Environment::default()
        };
        let error = Socket::bind(&environment).err().unwrap().to_string();
        assert!(error.contains("/no/such/place"), "{error}");
    }

    #[test]
    fn groups_are_found_by_name() {
        let groups = "root:x:0:\nvelero:x:1002:a,b\nbroken\n";
        for (name, id) in [
            ("root", Some(0)),
            ("velero", Some(1002)),
            ("vel", None),
            ("broken", None),
        ] {
            assert_eq!(id_in(groups, name), id, "{name}");
        }
    }
}
