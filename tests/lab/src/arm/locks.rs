//! ReadOnly locks: what is locked, or is within what is, can only be read.

use http::Method;

use super::refusal::Refusal;
use crate::world::World;

/// 409 for a request that a lock forbids: any but GET, so also POST of what only looks something up.
pub(crate) fn check(world: &World, scope: &str, method: &Method) -> Result<(), Refusal> {
    let lower = scope.to_ascii_lowercase();
    let locked: Vec<_> = world
        .locks
        .iter()
        .filter(|(lock, _)| covers(lock, &lower))
        .map(|(_, spelt)| spelt.as_str())
        .collect();
    if locked.is_empty() {
        return Ok(());
    }
    Err(Refusal::Locked {
        scope: scope.into(),
        operation: if method == Method::DELETE {
            "delete"
        } else {
            "write"
        },
        locked: locked.join(","),
    })
}

fn covers(lock: &str, scope: &str) -> bool {
    scope
        .strip_prefix(lock)
        .is_some_and(|within| within.is_empty() || within.starts_with('/'))
}
