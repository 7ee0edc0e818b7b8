//! The agent's wall clock, which can jump. It is seen through a library that stands before the C library: the machine's
//! own clock is everybody's.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

const LIBRARY: &str = include_str!("clock.c");

/// A clock of its own.
#[derive(Debug)]
pub(super) struct Clock {
    offset: File,
    library: PathBuf,
    file: PathBuf,
}

impl Clock {
    pub(super) fn make(directory: &Path) -> Result<Self> {
        let [source, library, file] =
            ["clock.c", "clock.so", "offset"].map(|name| directory.join(name));
        fs::write(&source, LIBRARY)?;
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .args([&library, &source])
            .status()
            .context("cc, for a library that moves the clock")?;
        ensure!(compiled.success(), "cc: {compiled}");
        fs::write(&file, 0_i64.to_ne_bytes())?;
        let offset = File::options().write(true).open(&file)?;
        Ok(Self {
            offset,
            library,
            file,
        })
    }

    /// What a process needs to have this clock.
    pub(super) fn variables(&self) -> Vec<(String, PathBuf)> {
        vec![
            ("LD_PRELOAD".into(), self.library.clone()),
            ("CLOCK_OFFSET".into(), self.file.clone()),
        ]
    }

    /// So many seconds from the machine's.
    pub(super) fn jump(&self, seconds: i64) -> Result<()> {
        Ok(self.offset.write_all_at(&seconds.to_ne_bytes(), 0)?)
    }
}
