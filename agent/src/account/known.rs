//! What was decided about tokens, for a while, and what is being decided: once for all who wait.

use std::{collections::HashMap, sync::Arc};

use tokio::{sync::OnceCell, time::Instant};

use super::{Account, Refusal, token::Digest};

/// A plugin has one token an hour; this is for many plugins, and an end to a flood.
const CAPACITY: usize = 128;

/// A decision. If who makes it goes away, the next who waits makes it.
pub(super) type Slot = Arc<OnceCell<Verdict>>;

/// A decision and until when it stands.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) result: Result<Account, Refusal>,
    until: Instant,
}

impl Verdict {
    pub(super) fn new(result: Result<Account, Refusal>, until: Instant) -> Self {
        Self { result, until }
    }

    /// For those who wait for it now, and nobody else.
    pub(super) fn passing(result: Result<Account, Refusal>) -> Self {
        Self::new(result, Instant::now())
    }
}

/// The decisions, by token.
#[derive(Default)]
pub(super) struct Known(HashMap<Digest, Slot>);

impl Known {
    /// Where the decision about that token is, or will be; `None` if too many are being made.
    pub(super) fn slot(&mut self, token: &Digest) -> Option<Slot> {
        let now = Instant::now();
        if let Some(slot) = self.0.get(token).filter(|slot| is_live(slot, now)) {
            return Some(slot.clone());
        }
        if self.0.len() >= CAPACITY {
            self.0.retain(|_, slot| is_live(slot, now));
        }
        if self.0.len() >= CAPACITY {
            let first = self
                .0
                .iter()
                .filter_map(|(token, slot)| Some((slot.get()?.until, *token)))
                .min()?;
            self.0.remove(&first.1);
        }
        let slot = Slot::default();
        self.0.insert(*token, slot.clone());
        Some(slot)
    }
}

/// Decided and standing, or being decided by someone.
fn is_live(slot: &Slot, now: Instant) -> bool {
    slot.get()
        .map_or(Arc::strong_count(slot) > 1, |verdict| verdict.until > now)
}

#[cfg(test)]
impl Known {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
