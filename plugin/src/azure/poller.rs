//! Asks for the snapshots that somebody waits for in one resource group, as often as is useful and as the
//! request budget allows: one GET for one, one LIST for several if that costs less.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::{sync::Notify, time::Instant};
use url::Url;

use super::{
    bucket::Kind,
    catalogue::Page,
    core::{Core, Reply},
    failure::Failure,
    pace,
    snapshot_map::Read,
    watch::Due,
};
use crate::{
    model::{ProvisioningState, ResourceGroup, SnapshotId},
    ports::AzureError,
};

/// Polls under way at once, so that a slow one does not delay the next.
const AT_ONCE: usize = 8;
/// So much of a list costs as much as another request.
const BIG: usize = 100_000;
/// One poll; a hung one must not keep a filesystem frozen.
const POLL: Duration = Duration::from_secs(1);
/// After a first 429; doubled up to Retry-After, but never longer than that.
const THROTTLED: Duration = Duration::from_millis(250);
const THROTTLED_MOST: Duration = Duration::from_secs(2);
/// After a first broken poll.
const BROKEN: Duration = Duration::from_millis(30);
const BROKEN_MOST: Duration = Duration::from_millis(500);
/// A new token, if Azure did not take the one there was.
const LOGIN: Duration = Duration::from_secs(10);

/// The answer to one poll: for which snapshots, asked when, and what was found of them.
struct Polled {
    ids: Vec<SnapshotId>,
    asked: Instant,
    pages: Option<usize>,
    found: Result<Vec<Read>, Failure>,
    /// Why there is no token to ask with.
    refused: Option<Failure>,
}

/// Runs until nobody waits in the group.
pub(super) async fn run(core: Arc<Core>, group: ResourceGroup, wake: Arc<Notify>) {
    let budget = core.budget(&group.subscription);
    let mut under_way: FuturesUnordered<BoxFuture<'static, Polled>> = FuturesUnordered::new();
    let mut trouble = Trouble::default();
    let mut pages = 1;
    let mut not_before = Instant::now();
    loop {
        let fill = budget.fill(Kind::Read).min(core.watch.share(&group));
        let gap = pace::floor(fill);
        let free = not_before <= Instant::now() && under_way.len() < AT_ONCE;
        let mut at = not_before;
        if free {
            let spent = under_way.len();
            match core.watch.due(&group, pages, gap) {
                Due::Nobody => return,
                Due::At(next) => at = next,
                Due::Each(ids) => {
                    core.watch.asked(&ids, fill);
                    for id in ids {
                        budget.take(Kind::Read);
                        under_way.push(Box::pin(get(core.clone(), id)));
                    }
                }
                Due::List(ids) => {
                    core.watch.asked(&ids, fill);
                    budget.take(Kind::Read);
                    under_way.push(Box::pin(list(core.clone(), group.clone(), ids)));
                }
            }
            if under_way.len() > spent {
                not_before = Instant::now() + gap.max(budget.wait_to_poll());
                continue;
            }
        }
        let full = under_way.len() >= AT_ONCE;
        tokio::select! {
            Some(mut polled) = under_way.next() => {
                pages = polled.pages.unwrap_or(pages);
                if let Some(wait) = trouble.after(&core, &mut polled).await {
                    not_before = not_before.max(Instant::now() + wait);
                }
                settle(&core, polled);
            }
            () = tokio::time::sleep_until(at.max(not_before)), if !full => {}
            () = wake.notified() => {}
        }
    }
}

async fn get(core: Arc<Core>, id: SnapshotId) -> Polled {
    let asked = Instant::now();
    let SnapshotId { group, name } = &id;
    let request = core.snapshots().get(&group.subscription, &group.name, name);
    let found = match core.once(POLL, request.send()).await {
        Ok(reply) => parse::<Read>(&reply).map(|read| vec![read]),
        Err(failure) if failure.is_code("ResourceGroupNotFound") => Err(failure),
        Err(failure) if failure.is_gone() => Ok(Vec::new()),
        Err(failure) => Err(failure),
    };
    Polled {
        ids: vec![id],
        asked,
        pages: None,
        found,
        refused: None,
    }
}

async fn list(core: Arc<Core>, group: ResourceGroup, ids: Vec<SnapshotId>) -> Polled {
    let asked = Instant::now();
    let mut found = Vec::new();
    let (mut pages, mut bytes) = (0, 0);
    let mut url = core.wire.list_of(&group);
    let result = loop {
        let reply = core.once(POLL, core.wire.get(&url)).await;
        bytes += reply.as_ref().map_or(0, |reply| reply.body.len());
        let page = match reply.and_then(|reply| parse::<Page<Read>>(&reply)) {
            Ok(page) => page,
            Err(failure) => break Err(failure),
        };
        pages += 1;
        found.extend(page.value.into_iter().filter(|read| {
            read.id
                .parse::<SnapshotId>()
                .is_ok_and(|id| ids.contains(&id))
        }));
        match page.next_link.and_then(|link| Url::parse(&link).ok()) {
            Some(next) if found.len() < ids.len() => url = next,
            _ => break Ok(found),
        }
        core.budget(&group.subscription).take(Kind::Read);
    };
    Polled {
        ids,
        asked,
        pages: Some(pages.max(bytes / BIG).max(1)),
        found: result,
        refused: None,
    }
}

fn parse<T: serde::de::DeserializeOwned>(reply: &Reply) -> Result<T, Failure> {
    serde_json::from_slice(&reply.body)
        .map_err(|error| Failure::Malformed(format!("a snapshot is described oddly: {error}")))
}

/// Failures in a row.
#[derive(Default)]
struct Trouble {
    count: u32,
}

impl Trouble {
    /// How long to hold back after this answer. A login that is refused is the answer then: without a token nothing will
    /// be seen, and the filesystem need not stand still for it.
    async fn after(&mut self, core: &Core, polled: &mut Polled) -> Option<Duration> {
        let Err(failure) = &polled.found else {
            self.count = 0;
            return None;
        };
        let doubled = |first: Duration| first.saturating_mul(1 << self.count.min(6));
        let wait = if failure.is_throttle() {
            let asked = failure.retry_after().unwrap_or(THROTTLED_MOST);
            doubled(THROTTLED).min(asked).min(THROTTLED_MOST)
        } else {
            doubled(BROKEN).min(BROKEN_MOST)
        };
        self.count += 1;
        tracing::debug!(%failure, ?wait, "a poll for the end of a snapshot failed");
        if failure.status() == Some(401) || matches!(failure, Failure::Login(_)) {
            let ensured = core.wire.tokens.ensure(Instant::now() + LOGIN).await;
            polled.refused = ensured.err();
        }
        Some(wait)
    }

    /// Not worth another poll.
    fn is_final(failure: &Failure) -> bool {
        match failure {
            Failure::Http { status, .. } => !failure.is_transient() && *status != 401,
            Failure::Connection(_)
            | Failure::Timeout(_)
            | Failure::Malformed(_)
            | Failure::Login(_) => false,
        }
    }
}

/// Tells the waiters what was found.
fn settle(core: &Arc<Core>, polled: Polled) {
    let Polled {
        ids,
        asked,
        found,
        refused,
        ..
    } = polled;
    let found = match found {
        Ok(found) => found,
        Err(failure) => {
            let last = refused.is_some() || Trouble::is_final(&failure);
            let failure = refused.unwrap_or(failure);
            if last {
                for id in &ids {
                    let told = || Err(failure.clone().into_error(id, asked.elapsed()));
                    core.watch.finish(id, told);
                }
            }
            return;
        }
    };
    let mut missing = ids;
    for snapshot in found.into_iter().filter_map(Read::into_snapshot) {
        missing.retain(|id| *id != snapshot.id);
        match &snapshot.state {
            ProvisioningState::Running(_) => core.watch.running(&snapshot.id, asked),
            ProvisioningState::Succeeded => {
                core.watch.finish(&snapshot.id, || Ok(snapshot.clone()));
            }
            ProvisioningState::Failed(state) => {
                if let Some(operation) = core.watch.failed(&snapshot.id) {
                    tokio::spawn(failed(core.clone(), snapshot.id, state.clone(), operation));
                }
            }
        }
    }
    for id in missing {
        if let Some(operation) = core.watch.absent(&id) {
            tokio::spawn(absent(core.clone(), id, operation));
        }
    }
}

/// A failed snapshot does not say why; its operation does.
async fn failed(core: Arc<Core>, id: SnapshotId, state: String, operation: Option<Url>) {
    let told = match &operation {
        Some(operation) => core.failure_of(operation).await,
        None => None,
    };
    let (code, message) = told.unwrap_or_else(|| (state, "Azure does not say why".to_owned()));
    core.watch
        .finish(&id, || Err(failure(&id, &code, &message)));
}

/// One that failed may never appear.
async fn absent(core: Arc<Core>, id: SnapshotId, operation: Url) {
    if let Some((code, message)) = core.failure_of(&operation).await {
        core.watch
            .finish(&id, || Err(failure(&id, &code, &message)));
    }
}

fn failure(id: &SnapshotId, code: &str, message: &str) -> AzureError {
    AzureError::Failed {
        resource: id.to_string(),
        code: code.to_owned(),
        message: message.to_owned(),
    }
}
