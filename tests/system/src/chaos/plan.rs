//! What a round does, all of it from its seed.

use std::{fmt, time::Duration};

use stillpoint_loopfs::Kind;

use super::Fault;

/// When the fault comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// So long after the plugin was asked.
    AfterTheCall(Duration),
    /// So long after Azure was asked, that is, after everything is frozen.
    AfterThePut(Duration),
}

/// A round.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) faults: Vec<Fault>,
    /// Filesystems whose volumes are cut at once.
    pub(super) kinds: Vec<Kind>,
    /// The location's `freeze`.
    pub(super) mode: &'static str,
    pub(super) moment: Moment,
    /// Until what was stopped, filled, killed or slowed is mended.
    pub(super) lasts: Duration,
    /// For whatever else a fault needs.
    pub(super) dice: Dice,
}

/// Random numbers of a seed: SplitMix64, the same on every machine and in every version.
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    }

    /// Below `end`.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub(super) fn is_one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }

    pub(super) fn millis(&mut self, end: u64) -> Duration {
        Duration::from_millis(self.below(end))
    }

    pub(super) fn one_of<T: Clone>(&mut self, all: &[T]) -> Option<T> {
        let place = self.below(u64::try_from(all.len()).ok()?.max(1));
        all.get(usize::try_from(place).ok()?).cloned()
    }
}

impl Plan {
    pub(super) fn of(seed: u64, in_kubernetes: bool, only: Option<Fault>) -> Self {
        let mut dice = Dice(seed);
        let fitting = Fault::ALL
            .into_iter()
            .filter(|fault| fault.fits(in_kubernetes));
        let fitting: Vec<_> = fitting.collect();
        let mut faults = vec![dice.one_of(&fitting).unwrap_or(Fault::None)];
        let second = dice.one_of(&fitting).unwrap_or(Fault::None);
        if dice.is_one_in(4) && is_pair(faults[0], second) {
            faults.push(second);
        }
        if let Some(only) = only {
            faults = vec![only];
        }
        let mut kinds = Kind::ALL.to_vec();
        // All three, or two, or one.
        for _ in 0..dice.below(3) {
            let place = dice.below(u64::try_from(kinds.len()).unwrap_or(1));
            kinds.remove(usize::try_from(place).unwrap_or_default());
        }
        let moment = if dice.is_one_in(4) {
            Moment::AfterTheCall(dice.millis(60))
        } else {
            Moment::AfterThePut(dice.millis(70))
        };
        // Short enough to end within the hold, as a rule; long enough to outlast it at times.
        let lasts = if dice.is_one_in(4) {
            Duration::from_millis(900) + dice.millis(900)
        } else {
            dice.millis(150)
        };
        let mode = if dice.is_one_in(2) {
            "auto"
        } else {
            "required"
        };
        Self {
            faults,
            kinds,
            mode,
            moment,
            lasts,
            dice,
        }
    }

    pub(super) fn has(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }

    pub(super) fn any(&self, is_so: impl Fn(Fault) -> bool) -> bool {
        self.faults.iter().any(|fault| is_so(*fault))
    }
}

/// Of different parts, and neither of them nothing.
fn is_pair(one: Fault, other: Fault) -> bool {
    let both = |is_so: fn(Fault) -> bool| is_so(one) && is_so(other);
    one != other
        && one != Fault::None
        && other != Fault::None
        && !both(Fault::is_agents)
        && !both(Fault::is_plugins)
        && !both(Fault::is_azures)
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults: Vec<_> = self.faults.iter().map(|fault| fault.name()).collect();
        let kinds: Vec<_> = self.kinds.iter().map(|kind| kind.name()).collect();
        let (moment, lasts) = (self.moment, self.lasts);
        write!(
            f,
            "{} on {} ({}), {moment:?}, for {lasts:?}",
            faults.join(" and "),
            kinds.join(", "),
            self.mode
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_makes_the_same_round_and_all_faults_and_filesystems_come() {
        let plans = |kubernetes| (0..1000).map(move |seed| Plan::of(seed, kubernetes, None));
        for (one, other) in plans(false).zip(plans(false)) {
            assert_eq!(one.to_string(), other.to_string());
            assert!((1..=3).contains(&one.kinds.len()));
        }
        for fault in Fault::ALL {
            let rounds = [true, false].map(|kubernetes| {
                let with = plans(kubernetes).filter(|plan| plan.has(fault)).count();
                assert!(with == 0 || with > 15, "{fault}: {with}");
                with
            });
            assert!(rounds.iter().any(|rounds| *rounds > 0), "{fault}");
        }
        for kind in Kind::ALL {
            assert!(
                plans(true)
                    .filter(|plan| plan.kinds.contains(&kind))
                    .count()
                    > 250
            );
        }
    }
}
