//! Programs that write to a volume all the time and know what they wrote: a file writer and SQLite in WAL mode; and one
//! that only tells how long writes stall.

use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use rusqlite::Connection;
use sha2::{Digest as _, Sha256};

/// Files of a directory before the next is begun: metadata changes all the time.
const FILES_IN_A_DIRECTORY: u64 = 50;
/// A pause between two writes, so that two cores are left to the programs under test.
const PACE: Duration = Duration::from_millis(2);

/// The same of blocks, of this size.
const BLOCKS_PACE: Duration = Duration::from_millis(5);
const BLOCK: usize = 512;
/// Then it begins anew.
const BLOCKS: u64 = 1000;

/// A thread that writes until it is stopped, and the longest it stood still.
#[derive(Debug)]
pub struct Writer {
    stop: Arc<AtomicBool>,
    stall: Arc<AtomicU64>,
    count: Arc<AtomicU64>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Writer {
    /// Writes files that carry their own checksum, each fsync'd and renamed into place.
    pub fn files(directory: &Path) -> Result<Self> {
        let directory = directory.join("files");
        fs::create_dir_all(&directory)?;
        let step = move |number| write_file(&directory, number);
        Ok(Self::spawn(PACE, step))
    }

    /// Moves money between accounts of a SQLite database in WAL mode, one transaction a step.
    pub fn sqlite(directory: &Path) -> Result<Self> {
        let database = bank(&directory.join("bank.db"))?;
        let step = move |number| transfer(&database, number);
        Ok(Self::spawn(PACE, step))
    }

    /// Writes 512 bytes and has them fsync'd, every 5 ms.
    pub fn blocks(directory: &Path) -> Result<Self> {
        let file = File::create(directory.join("blocks"))?;
        Ok(Self::spawn(BLOCKS_PACE, move |number| {
            let place = number % BLOCKS * BLOCK as u64;
            file.write_all_at(&[number as u8; BLOCK], place)?;
            Ok(file.sync_all()?)
        }))
    }

    fn spawn(pace: Duration, mut step: impl FnMut(u64) -> Result<()> + Send + 'static) -> Self {
        let (stop, stall, count) = <(Arc<AtomicBool>, Arc<AtomicU64>, Arc<AtomicU64>)>::default();
        let (ended, longest, written) = (stop.clone(), stall.clone(), count.clone());
        let thread = thread::spawn(move || {
            let mut number = 0;
            while !ended.load(Ordering::Relaxed) {
                let begun = Instant::now();
                step(number)?;
                let micros = begun.elapsed().as_micros().try_into().unwrap_or(u64::MAX);
                longest.fetch_max(micros, Ordering::Relaxed);
                number += 1;
                written.store(number, Ordering::Relaxed);
                thread::sleep(pace);
            }
            Ok(())
        });
        Self {
            stop,
            stall,
            count,
            thread: Some(thread),
        }
    }

    /// The longest that one write took since this was last asked.
    pub fn longest_stall(&self) -> Duration {
        Duration::from_micros(self.stall.swap(0, Ordering::Relaxed))
    }

    /// How many writes there were.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Ends it, and tells what went wrong while it wrote.
    pub fn stop(mut self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => anyhow::bail!("the writer panicked"),
            None => Ok(()),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Not joined: on a frozen filesystem that could last.
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn write_file(root: &Path, number: u64) -> Result<()> {
    let directory = root.join((number / FILES_IN_A_DIRECTORY).to_string());
    fs::create_dir_all(&directory)?;
    let body: Vec<u8> = (0..4096_u64)
        .map(|byte| (byte * 31 + number * 7) as u8)
        .collect();
    let sum = Sha256::digest(&body);
    let (new, kept) = (directory.join("new"), directory.join(number.to_string()));
    let mut file = File::create(&new).with_context(|| format!("cannot write {}", new.display()))?;
    file.write_all(&sum)?;
    file.write_all(&body)?;
    file.sync_all()?;
    fs::rename(new, kept)?;
    Ok(())
}

/// The files that [`Writer::files`] left on a copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// Files with the content that was written.
    pub whole: u64,
    /// Files with another.
    pub torn: u64,
}

/// Reads every file that [`Writer::files`] wrote below `directory`; one that was being written does not count.
pub fn check_files(directory: &Path) -> Files {
    let mut files = Files::default();
    for path in entries(&directory.join("files"))
        .iter()
        .flat_map(|directory| entries(directory))
    {
        if path.ends_with("new") {
            continue;
        }
        let content = fs::read(&path).unwrap_or_default();
        let (sum, body) = content.split_at_checked(32).unwrap_or_default();
        if !body.is_empty() && Sha256::digest(body)[..] == *sum {
            files.whole += 1;
        } else {
            files.torn += 1;
        }
    }
    files
}

/// On a copy that needs a replay, a directory may be unreadable: then it has no entries.
fn entries(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .collect()
}

const ACCOUNTS: i64 = 100;
const BALANCE: i64 = 1_000;

fn bank(path: &Path) -> Result<Connection> {
    let database = Connection::open(path)?;
    database.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 100;
         CREATE TABLE account (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL);
         CREATE TABLE history (id INTEGER PRIMARY KEY, source INTEGER, target INTEGER, amount INTEGER);",
    )?;
    for id in 0..ACCOUNTS {
        database.execute("INSERT INTO account VALUES (?1, ?2)", (id, BALANCE))?;
    }
    Ok(database)
}

fn transfer(database: &Connection, number: u64) -> Result<()> {
    let number = number.cast_signed();
    let (source, target, amount) = (number % ACCOUNTS, (number * 7 + 1) % ACCOUNTS, number % 13);
    let transaction = database.unchecked_transaction()?;
    transaction.execute(
        "UPDATE account SET balance = balance - ?1 WHERE id = ?2",
        (amount, source),
    )?;
    transaction.execute(
        "UPDATE account SET balance = balance + ?1 WHERE id = ?2",
        (amount, target),
    )?;
    transaction.execute(
        "INSERT INTO history (source, target, amount) VALUES (?1, ?2, ?3)",
        (source, target, amount),
    )?;
    Ok(transaction.commit()?)
}

/// What SQLite says of a copy of the database that [`Writer::sqlite`] writes in `directory`: the answer of
/// `PRAGMA integrity_check`, after the sum of all balances was found unchanged.
pub fn check_sqlite(directory: &Path, scratch: &Path) -> Result<String> {
    // A read-only filesystem has no room for SQLite's shared memory file, so the files are copied off it.
    let copy = copy_database(directory, scratch)?;
    let database = Connection::open(copy)?;
    let sum: i64 = database.query_row("SELECT sum(balance) FROM account", (), |row| row.get(0))?;
    ensure!(sum == ACCOUNTS * BALANCE, "balances sum up to {sum}");
    Ok(database.query_row("PRAGMA integrity_check", (), |row| row.get(0))?)
}

fn copy_database(directory: &Path, scratch: &Path) -> Result<PathBuf> {
    let scratch = tempfile::tempdir_in(scratch)?.keep();
    for file in ["bank.db", "bank.db-wal"] {
        let source = directory.join(file);
        if source.exists() {
            fs::copy(&source, scratch.join(file))
                .with_context(|| format!("cannot copy {}", source.display()))?;
        }
    }
    Ok(scratch.join("bank.db"))
}
