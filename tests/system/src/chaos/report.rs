//! What came of the rounds.

use std::{collections::BTreeMap, fmt, time::Duration};

use anyhow::Result;

use super::{Counts, Fault, plan::Plan, round::Ended};
use crate::table::{Cell, Table, Tone};

/// Rounds and failures by fault.
#[derive(Debug, Default)]
pub struct Tally {
    by_fault: BTreeMap<Fault, Row>,
    rounds: u64,
    failures: Vec<(u64, String)>,
    snapshots: Counts,
    longest: Duration,
    without_slow_disk: bool,
    pub(super) took: Duration,
}

#[derive(Debug, Default)]
struct Row {
    rounds: u64,
    whole: u64,
    crash: u64,
    refused: u64,
    swept: u64,
    unsaid: u64,
    failed: u64,
}

impl Tally {
    pub(super) fn add(
        &mut self,
        seed: u64,
        plan: &Plan,
        ended: Result<Ended>,
        without_slow_disk: bool,
    ) {
        self.rounds += 1;
        self.without_slow_disk |= without_slow_disk;
        for fault in &plan.faults {
            let row = self.by_fault.entry(*fault).or_default();
            row.rounds += 1;
            match &ended {
                Ok(ended) => {
                    row.whole += ended.whole;
                    row.crash += ended.crash;
                    row.refused += ended.refused;
                    row.swept += ended.swept;
                    row.unsaid += ended.unsaid;
                }
                Err(_) => row.failed += 1,
            }
        }
        match ended {
            Ok(ended) => {
                for kind in &plan.kinds {
                    *self.snapshots.entry(kind.name()).or_default() += 1;
                }
                self.longest = self.longest.max(ended.longest);
            }
            Err(error) => self.failures.push((seed, format!("{plan}: {error:#}"))),
        }
    }

    /// All of them.
    pub fn rounds(&self) -> u64 {
        self.rounds
    }

    /// Seeds of rounds that failed, and what was wrong.
    pub fn failures(&self) -> &[(u64, String)] {
        &self.failures
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::default();
        let head = [
            "fault",
            "rounds",
            "filesystem",
            "crash",
            "no snapshot",
            "swept",
            "unsaid",
            "failed",
        ];
        table.row(head.map(|text| Cell::new(text, Tone::Faint)));
        for (fault, row) in &self.by_fault {
            let number = |number: u64| Cell::plain(number.to_string());
            table.row([
                Cell::plain(fault.name()),
                number(row.rounds),
                number(row.whole),
                number(row.crash),
                number(row.refused),
                number(row.swept),
                number(row.unsaid),
                Cell::judged(row.failed.to_string(), row.failed == 0),
            ]);
        }
        writeln!(f, "{table}")?;
        let snapshots = self.snapshots.iter();
        let snapshots: Vec<_> = snapshots
            .map(|(kind, many)| format!("{many} on {kind}"))
            .collect();
        writeln!(
            f,
            "{} rounds in {:.0} s ({:.2} s each); volumes asked for: {}. The longest that writes stood still where an \
             agent could thaw: {:.2} s, with a limit of 1 s.",
            self.rounds,
            self.took.as_secs_f64(),
            self.took.as_secs_f64() / self.rounds.max(1) as f64,
            snapshots.join(", "),
            self.longest.as_secs_f64(),
        )?;
        if self.without_slow_disk {
            writeln!(
                f,
                "This kernel can slow no disk down (neither dm-delay nor blkio.throttle): slow-disk did nothing."
            )?;
        }
        for (seed, failure) in &self.failures {
            writeln!(f, "FAILED: make chaos N=1 SEED={seed}: {failure}")?;
        }
        Ok(())
    }
}
