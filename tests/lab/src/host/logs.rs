//! What a plugin logs, as Velero would show it.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::{Map, Value};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, BufReader},
    sync::watch,
    time::timeout,
};

/// hclog's levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "they say it themselves")]
pub enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Debug for plain text, as go-plugin has it.
    pub level: Level,
    /// The whole line for plain text.
    pub message: String,
    /// None for plain text.
    pub fields: Option<Map<String, Value>>,
}

impl Entry {
    fn parse(line: String) -> Self {
        match structured(&line) {
            Some(entry) => entry,
            None => Self {
                level: Level::Debug,
                message: line,
                fields: None,
            },
        }
    }

    /// Whether it was an entry of go-plugin's form.
    pub fn is_structured(&self) -> bool {
        self.fields.is_some()
    }

    /// A field as text.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.as_ref()?.get(name)?.as_str()
    }
}

fn structured(line: &str) -> Option<Entry> {
    let mut fields: Map<String, Value> = serde_json::from_str(line).ok()?;
    let level = match fields.remove("@level")?.as_str()? {
        "trace" => Level::Trace,
        "debug" => Level::Debug,
        "info" => Level::Info,
        "warn" => Level::Warn,
        "error" => Level::Error,
        _ => return None,
    };
    let message = fields.remove("@message")?.as_str()?.to_owned();
    let timestamp = fields.remove("@timestamp")?;
    // go-plugin parses with a fixed layout: six digits of a second.
    let timestamp = timestamp.as_str()?;
    let digits = timestamp.split_once('.')?.1.trim_end_matches('Z').len();
    (digits == 6 && timestamp.parse::<jiff::Timestamp>().is_ok()).then_some(Entry {
        level,
        message,
        fields: Some(fields),
    })
}

/// The log of one process so far. Clones share it.
#[derive(Clone, Debug)]
pub struct Logs {
    entries: Arc<Mutex<Vec<Entry>>>,
    changed: watch::Receiver<()>,
}

impl Logs {
    /// Reads until the end of `stderr`.
    pub(super) fn read(stderr: impl AsyncRead + Send + Unpin + 'static) -> Self {
        let entries = Arc::<Mutex<Vec<Entry>>>::default();
        let (change, changed) = watch::channel(());
        let logs = Self { entries, changed };
        let writer = logs.clone();
        tokio::spawn(async move {
            let mut stderr = BufReader::new(stderr);
            while let Ok(Some(line)) = line(&mut stderr).await {
                writer.lock().push(Entry::parse(line));
                // Nobody need wait.
                let _ = change.send(());
            }
        });
        logs
    }

    /// All of it.
    pub fn entries(&self) -> Vec<Entry> {
        self.lock().clone()
    }

    /// The first entry that `wanted` likes, also one that comes within `patience`.
    pub async fn find(&self, patience: Duration, wanted: impl Fn(&Entry) -> bool) -> Option<Entry> {
        let mut changed = self.changed.clone();
        let found = async {
            loop {
                changed.mark_unchanged();
                if let Some(entry) = self.lock().iter().find(|entry| wanted(entry)) {
                    return Some(entry.clone());
                }
                if changed.changed().await.is_err() {
                    // stderr has ended: what came is all there is.
                    return self.lock().iter().find(|entry| wanted(entry)).cloned();
                }
            }
        };
        timeout(patience, found).await.ok().flatten()
    }

    /// Resolves at the end of stderr: all processes that had it are gone.
    pub async fn ended(&self) {
        let mut changed = self.changed.clone();
        while changed.changed().await.is_ok() {}
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn line(reader: &mut BufReader<impl AsyncRead + Unpin>) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    let read = reader.read_until(b'\n', &mut line).await?;
    let line = String::from_utf8_lossy(&line).trim_end().to_owned();
    Ok((read > 0).then_some(line))
}
