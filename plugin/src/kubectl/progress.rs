//! How far each volume is: bars on a terminal, lines elsewhere. On stderr, so that stdout is the result alone.

use std::{
    collections::HashMap,
    fmt::Display,
    io::{self, IsTerminal as _},
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{
    model::DiskId,
    ports::{Stage, Watcher},
};

/// From the begin to the end of a snapshot.
const STEPS: u64 = 4;
const TICK: Duration = Duration::from_millis(100);

/// Several at once.
pub(super) struct Progress {
    bars: Option<MultiProgress>,
    width: usize,
    lines: HashMap<DiskId, Line>,
}

/// One of them.
pub(super) struct Line {
    what: String,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Of those, by what they are called.
    pub(super) fn new<'a>(of: impl Iterator<Item = (&'a DiskId, String)>) -> Self {
        let bars = io::stderr().is_terminal();
        let bars = bars.then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr()));
        let of: Vec<_> = of.collect();
        let width = of
            .iter()
            .map(|(_, what)| what.len())
            .max()
            .unwrap_or_default();
        let mut progress = Self {
            bars,
            width,
            lines: HashMap::new(),
        };
        for (disk, what) in of {
            let line = progress.line(what);
            progress.lines.insert(disk.clone(), line);
        }
        progress
    }

    fn line(&self, what: String) -> Line {
        let bar = self.bars.as_ref().map(|bars| {
            let bar = bars.add(ProgressBar::new(STEPS));
            let template = "{prefix}  {bar:16}  {elapsed:>4}  {msg}";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style.progress_chars("=> "));
            }
            bar.set_prefix(format!("{what:width$}", width = self.width));
            bar.set_message("waits its turn");
            bar
        });
        Line { what, bar }
    }

    /// Begins one.
    pub(super) fn begins(&self, disk: &DiskId) {
        if let Some(line) = self.lines.get(disk) {
            line.begins("looks the disk up");
        }
    }

    /// It has ended.
    pub(super) fn ended(&self, disk: &DiskId, how: impl Display) {
        if let Some(line) = self.lines.get(disk) {
            line.ended(how);
        }
    }
}

impl Watcher for Progress {
    fn reached(&self, disk: &DiskId, stage: Stage) {
        let (step, text) = match stage {
            Stage::Freezing => (1, "freezing"),
            Stage::Frozen => (2, "frozen; Azure cuts the snapshot"),
            Stage::Cutting => (2, "not frozen; Azure cuts the snapshot"),
            Stage::Thawed => (3, "cut; its programs go on"),
            Stage::Copying => (3, "Azure copies in the background"),
        };
        if let Some(line) = self.lines.get(disk) {
            line.reached(step, text);
        }
    }
}

impl Line {
    /// One thing alone.
    pub(super) fn alone(what: &str) -> Self {
        Progress::new(std::iter::empty()).line(what.to_owned())
    }

    pub(super) fn begins(&self, text: &'static str) {
        match &self.bar {
            Some(bar) => {
                bar.reset_elapsed();
                bar.enable_steady_tick(TICK);
                bar.set_message(text);
            }
            None => eprintln!("{}: {text}", self.what),
        }
    }

    fn reached(&self, step: u64, text: &'static str) {
        match &self.bar {
            Some(bar) => {
                bar.set_position(step);
                bar.set_message(text);
            }
            None => eprintln!("{}: {text}", self.what),
        }
    }

    pub(super) fn ended(&self, how: impl Display) {
        match &self.bar {
            Some(bar) => {
                bar.set_position(STEPS);
                bar.finish_with_message(how.to_string());
            }
            None => eprintln!("{}: {how}", self.what),
        }
    }
}
