//! What is known of one kind of object: all of it, as of the last word that was heard.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

/// How long look-ups wait for the first list, from its begin when the first location was opened; then no more.
const FIRST_LIST: Duration = Duration::from_secs(5);

/// The objects by name, each as far as it is needed.
pub(super) struct Store<T> {
    what: &'static str,
    items: RwLock<HashMap<String, T>>,
    state: watch::Sender<State>,
    begun: Instant,
    /// Counts what changed.
    changes: Arc<watch::Sender<u64>>,
}

#[derive(Clone, Debug, Default)]
struct State {
    listed: bool,
    /// Since when nothing can be heard, and why.
    deaf: Option<(Instant, String)>,
}

impl<T: Clone> Store<T> {
    pub(super) fn new(what: &'static str) -> Self {
        Self::telling(what, Arc::default())
    }

    /// One whose changes are counted there.
    pub(super) fn telling(what: &'static str, changes: Arc<watch::Sender<u64>>) -> Self {
        Self {
            what,
            items: RwLock::default(),
            state: watch::Sender::default(),
            begun: Instant::now(),
            changes,
        }
    }

    pub(super) fn what(&self) -> &'static str {
        self.what
    }

    /// Waits until there is something to look at. Tells why it may not be so any more, if it may not.
    pub(super) async fn current(&self) -> Result<Option<String>, String> {
        let mut state = self.state.subscribe();
        // Not kept: it would hold the state locked, and with a writer in between the next look would wait for ever.
        let listed = timeout_at(
            self.begun + FIRST_LIST,
            state.wait_for(|state| state.listed),
        )
        .await
        .is_ok();
        if !listed {
            self.listed()?;
        }
        let seen = self.state.borrow();
        let (what, deaf) = (self.what, seen.deaf.as_ref());
        Ok(deaf.map(|(since, reason)| {
            let seconds = since.elapsed().as_secs();
            format!("what is known of {what} is {seconds} s old: {reason}")
        }))
    }

    /// Whether it was listed.
    pub(super) fn listed(&self) -> Result<(), String> {
        let state = self.state.borrow();
        if state.listed {
            return Ok(());
        }
        let deaf = state.deaf.as_ref();
        let reason = deaf.map_or("no answer yet", |(_, reason)| reason);
        Err(format!(
            "the {} of the cluster are not known: {reason}",
            self.what
        ))
    }

    pub(super) fn get(&self, name: &str) -> Option<T> {
        let items = self.items.read().unwrap_or_else(PoisonError::into_inner);
        items.get(name).cloned()
    }

    pub(super) fn find<F>(&self, matches: impl Fn(&str, &T) -> Option<F>) -> Vec<F> {
        let items = self.items.read().unwrap_or_else(PoisonError::into_inner);
        items
            .iter()
            .filter_map(|(name, item)| matches(name, item))
            .collect()
    }

    pub(super) fn replace(&self, items: HashMap<String, T>) {
        *self.items.write().unwrap_or_else(PoisonError::into_inner) = items;
        self.state.send_modify(|state| {
            state.listed = true;
            state.deaf = None;
        });
        self.changed();
    }

    pub(super) fn put(&self, name: String, item: Option<T>) {
        let mut items = self.items.write().unwrap_or_else(PoisonError::into_inner);
        match item {
            Some(item) => items.insert(name, item),
            None => items.remove(&name),
        };
        drop(items);
        self.changed();
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// Listens again.
    pub(super) fn hears(&self) {
        self.state
            .send_if_modified(|state| state.deaf.take().is_some());
    }

    /// Whether that is news.
    pub(super) fn is_deaf(&self, reason: String) -> bool {
        self.state.send_if_modified(|state| match &mut state.deaf {
            Some((_, known)) => {
                let news = *known != reason;
                *known = reason;
                news
            }
            None => {
                state.deaf = Some((Instant::now(), reason));
                true
            }
        })
    }
}
