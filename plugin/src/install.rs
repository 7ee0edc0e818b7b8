//! `install DIR`: what the init container runs to bring the plugin to Velero.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use thiserror::Error;

/// The name of the program, wherever it is installed.
pub const PROGRAM: &str = "velero-plugin-stillpoint";

/// The plugin could not be installed; what was there before is untouched.
#[derive(Debug, Error)]
pub enum InstallError {
    /// Nothing to copy.
    #[error("cannot read this program from {}", path.display())]
    Program {
        /// Where it should be.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// No directory.
    #[error(
        "{} is not a directory: it must be the one that Velero's container mounts at /plugins",
        path.display()
    )]
    Directory {
        /// As it was given.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// No copy.
    #[error("cannot write to {}", directory.display())]
    Write {
        /// Where.
        directory: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// No rename.
    #[error("cannot replace {}", target.display())]
    Replace {
        /// What should have been replaced.
        target: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Copies `program` into `directory` and returns its path there. Whoever looks sees the former program or the
/// whole new one; a running one goes on with what it has.
///
/// # Errors
/// If anything on the way fails, and then nothing has changed.
pub fn install(program: &Path, directory: &Path) -> Result<PathBuf, InstallError> {
    let mut source = File::open(program).map_err(|source| InstallError::Program {
        path: program.to_owned(),
        source,
    })?;
    let metadata = fs::metadata(directory).map_err(|source| InstallError::Directory {
        path: directory.to_owned(),
        source,
    })?;
    if !metadata.is_dir() {
        let source = io::ErrorKind::NotADirectory.into();
        return Err(InstallError::Directory {
            path: directory.to_owned(),
            source,
        });
    }

    let failed = |source| InstallError::Write {
        directory: directory.to_owned(),
        source,
    };
    // Not executable while incomplete: Velero takes every executable file for a plugin.
    let mut copy = tempfile::Builder::new()
        .prefix(&format!(".{PROGRAM}-"))
        .permissions(fs::Permissions::from_mode(0o600))
        .tempfile_in(directory)
        .map_err(failed)?;
    io::copy(&mut source, copy.as_file_mut()).map_err(failed)?;
    let executable = fs::Permissions::from_mode(0o755);
    copy.as_file().set_permissions(executable).map_err(failed)?;
    copy.as_file().sync_all().map_err(failed)?;

    let target = directory.join(PROGRAM);
    copy.persist(&target)
        .map_err(|error| InstallError::Replace {
            target: target.clone(),
            source: error.error,
        })?;
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(failed)?;
    Ok(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(directory: &Path, content: &[u8]) -> PathBuf {
        let path = directory.join("program");
        fs::write(&path, content).unwrap();
        path
    }

    #[test]
    fn copy_is_whole_and_executable() {
        let from = tempfile::tempdir().unwrap();
        let to = tempfile::tempdir().unwrap();
        let target = install(&program(from.path(), b"new"), to.path()).unwrap();
        assert_eq!(target, to.path().join(PROGRAM));
        assert_eq!(fs::read(&target).unwrap(), b"new");
        assert_eq!(
            fs::metadata(&target).unwrap().permissions().mode() & 0o7777,
            0o755
        );
        assert_eq!(fs::read_dir(to.path()).unwrap().count(), 1);
    }

    #[test]
    fn former_program_is_replaced_not_written_to() {
        let from = tempfile::tempdir().unwrap();
        let to = tempfile::tempdir().unwrap();
        let target = install(&program(from.path(), b"old"), to.path()).unwrap();
        let running = File::open(&target).unwrap();
        install(&program(from.path(), b"new"), to.path()).unwrap();
        assert_eq!(io::read_to_string(running).unwrap(), "old");
        assert_eq!(fs::read(&target).unwrap(), b"new");
    }

    #[test]
    fn errors_name_the_path_and_leave_nothing_behind() {
        let from = tempfile::tempdir().unwrap();
        let to = tempfile::tempdir().unwrap();
        let program = program(from.path(), b"new");

        let error = install(&program, Path::new("/no/such/dir")).unwrap_err();
        assert!(matches!(error, InstallError::Directory { .. }), "{error:?}");
        assert!(error.to_string().contains("/no/such/dir"), "{error}");
        let error = install(&program, &program).unwrap_err();
        assert!(matches!(error, InstallError::Directory { .. }), "{error:?}");
        let error = install(Path::new("/no/such/program"), to.path()).unwrap_err();
        assert!(matches!(error, InstallError::Program { .. }), "{error:?}");

        fs::create_dir(to.path().join(PROGRAM)).unwrap();
        let error = install(&program, to.path()).unwrap_err();
        assert!(matches!(error, InstallError::Replace { .. }), "{error:?}");
        assert_eq!(fs::read_dir(to.path()).unwrap().count(), 1);
    }
}
