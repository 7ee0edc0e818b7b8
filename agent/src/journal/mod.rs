//! The journal: one file a freeze, so that the next to come knows what to thaw. Locked by one agent at a time.
//!
//! It need not survive the kernel, for no freeze does; so nothing is flushed, and tmpfs is the place for it. What has
//! been written survives the death of its writer, however sudden.

mod entry;

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::{fd::OwnedFd, unix::fs::DirBuilderExt as _},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::{FlockOperation, flock, statfs},
    io::{Errno, FdFlags, fcntl_setfd},
};
use thiserror::Error;

pub(crate) use self::entry::{Entry, State};

const SUFFIX: &str = "freeze";
/// An entry is smaller.
const PAGE: usize = 4096;
/// How long a start waits for an agent that is just ending.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug, Error)]
pub(crate) enum JournalError {
    #[error(
        "journal {}: another agent uses it; expected one agent a node: stop the other, or choose a directory with --journal (STILLPOINT_JOURNAL)", .0.display()
    )]
    Locked(PathBuf),
    #[error(
        "journal {}: {source}; expected a directory that the agent may write, on tmpfs: set it with --journal (STILLPOINT_JOURNAL)", .path.display()
    )]
    Unusable { path: PathBuf, source: io::Error },
}

/// The right to use a journal. Inherited by child processes, so that it lasts until the last of them is gone.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: OwnedFd,
}

/// The directory of the journal.
#[derive(Clone, Debug)]
pub(crate) struct Journal {
    directory: PathBuf,
}

impl Journal {
    pub(crate) fn at(directory: PathBuf) -> Self {
        Self { directory }
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Makes the directory if it is missing and locks it.
    pub(crate) fn lock(&self) -> Result<Lock, JournalError> {
        let unusable = |source: io::Error| JournalError::Unusable {
            path: self.directory.clone(),
            source,
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.directory)
            .map_err(unusable)?;
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.directory.join("lock"))
            .map_err(unusable)?;
        let patience = Instant::now() + PATIENCE;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(Errno::WOULDBLOCK) if Instant::now() < patience => {
                    thread::sleep(Duration::from_millis(20));
                }
                Err(Errno::WOULDBLOCK) => {
                    return Err(JournalError::Locked(self.directory.clone()));
                }
                Err(errno) => return Err(unusable(errno.into())),
            }
        }
        fcntl_setfd(&file, FdFlags::empty()).map_err(|errno| unusable(errno.into()))?;
        Ok(Lock { _file: file.into() })
    }

    /// Whether nobody can freeze the filesystem that it is on. On another its user stops when that is frozen.
    pub(crate) fn is_safe(&self) -> bool {
        // TMPFS_MAGIC and RAMFS_MAGIC of linux/magic.h.
        statfs(&self.directory).is_ok_and(|fs| [0x0102_1994, 0x8584_58f6].contains(&fs.f_type))
    }

    /// Writes a new entry under `key`.
    pub(crate) fn create(&self, key: &str, entry: &Entry) -> io::Result<Open> {
        let path = self.path(key);
        let mut file = File::options().create_new(true).append(true).open(&path)?;
        if let Err(error) = file.write_all(entry.to_string().as_bytes()) {
            // Half an entry names nothing, and would stay.
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        Ok(Open { file, path })
    }

    /// An error if an entry could not be written now: the filesystem is full or read-only, or the directory is gone.
    pub(crate) fn check(&self) -> io::Result<()> {
        let path = self.directory.join(format!("check.{}", std::process::id()));
        let written = fs::write(&path, [b'.'; PAGE]);
        let removed = fs::remove_file(&path);
        written.and(removed)
    }

    /// Every entry with its key. A file that holds no whole entry was cut off before anything could be frozen.
    pub(crate) fn entries(&self) -> io::Result<Vec<(String, Option<Entry>)>> {
        let mut entries = Vec::new();
        for file in fs::read_dir(&self.directory)? {
            let path = file?.path();
            if path.extension().is_none_or(|suffix| suffix != SUFFIX) {
                continue;
            }
            let Some(key) = path.file_stem().and_then(|stem| stem.to_str()) else {
                continue;
            };
            match fs::read_to_string(&path) {
                Ok(text) => entries.push((key.to_owned(), text.parse().ok())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(entries)
    }

    /// Forgets an entry. One that is gone already is fine.
    pub(crate) fn remove(&self, key: &str) -> io::Result<()> {
        match fs::remove_file(self.path(key)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn path(&self, key: &str) -> PathBuf {
        self.directory.join(format!("{key}.{SUFFIX}"))
    }
}

/// An entry that is being written on.
#[derive(Debug)]
pub(crate) struct Open {
    file: File,
    path: PathBuf,
}

impl Open {
    /// Appends the new state: one short write, so it is there or it is not.
    pub(crate) fn advance(&mut self, state: State) -> io::Result<()> {
        self.file.write_all(format!("{state}\n").as_bytes())
    }

    pub(crate) fn remove(self) -> io::Result<()> {
        fs::remove_file(self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::{entry::tests::entry, *};

    #[test]
    fn entries_are_found_with_their_last_state_until_they_are_removed() {
        let directory = tempfile::tempdir().unwrap();
        let journal = Journal::at(directory.path().join("journal"));
        let _lock = journal.lock().unwrap();
        let mut open = journal.create("a", &entry(State::Intent)).unwrap();
        for state in [State::Freezing, State::Frozen] {
            open.advance(state).unwrap();
            let entries = journal.entries().unwrap();
            let [(key, Some(found))] = &entries[..] else {
                panic!("{entries:?}")
            };
            assert_eq!((key.as_str(), found.state), ("a", state));
        }
        open.remove().unwrap();
        assert!(journal.entries().unwrap().is_empty());
        journal.remove("a").unwrap();
    }

    #[test]
    fn an_entry_that_was_cut_off_is_told_apart() {
        let directory = tempfile::tempdir().unwrap();
        let journal = Journal::at(directory.path().to_owned());
        let whole = entry(State::Intent).to_string();
        fs::write(
            directory.path().join("cut.freeze"),
            &whole[..whole.len() - 9],
        )
        .unwrap();
        let entries = journal.entries().unwrap();
        assert!(
            matches!(&entries[..], [(key, None)] if key == "cut"),
            "{entries:?}"
        );
    }

    #[test]
    fn a_check_leaves_nothing_and_tells_of_a_directory_that_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let journal = Journal::at(directory.path().join("journal"));
        assert!(journal.check().is_err());
        fs::create_dir(journal.directory()).unwrap();
        journal.check().unwrap();
        assert_eq!(fs::read_dir(journal.directory()).unwrap().count(), 0);
    }

    #[test]
    fn one_agent_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let journal = Journal::at(directory.path().to_owned());
        let lock = journal.lock().unwrap();
        assert!(matches!(journal.lock(), Err(JournalError::Locked(_))));
        drop(lock);
        journal.lock().unwrap();
    }
}
