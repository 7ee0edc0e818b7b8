//! Faults on demand: the nth request that matches meets one.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{glob, settings::duration};

/// A fault for requests that match. In JSON:
/// `{"method": "PUT", "path": "**/snapshots/*", "skip": 1, "times": 2, "action": {"status": {"status": 503}}}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Fault {
    /// GET, PUT, …; any if none.
    #[serde(default)]
    pub method: Option<String>,
    /// Pattern of the path: `*` within a segment, `**` anything, without case.
    pub path: String,
    /// So many matching requests pass before (0).
    #[serde(default)]
    pub skip: u32,
    /// So many requests meet the fault (1); 0 means all from then on.
    #[serde(default = "once")]
    pub times: u32,
    /// What happens to them.
    pub action: Action,
}

fn once() -> u32 {
    1
}

/// What happens to a request. In JSON: `"closeBefore"`, `{"delay": {"by": "1s"}}`, …
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    deny_unknown_fields,
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum Action {
    /// It is not handled, and answered with this.
    Status {
        /// HTTP status.
        status: u16,
        /// `error.code`; one that fits the status if none. On Entra's paths: `error`.
        #[serde(default)]
        code: Option<String>,
        /// `error.message`.
        #[serde(default)]
        message: Option<String>,
        /// The Retry-After header, seconds or a date.
        #[serde(default)]
        retry_after: Option<String>,
    },
    /// The connection is closed; nothing was done.
    CloseBefore,
    /// It is handled, then the connection is closed: the answer is lost.
    CloseAfter,
    /// It is not handled; the connection is closed after a while.
    Hang {
        /// How long.
        #[serde(with = "duration", rename = "for")]
        period: Duration,
    },
    /// It is handled later.
    Delay {
        /// How much.
        #[serde(with = "duration")]
        by: Duration,
    },
    /// It is handled at once and answered later.
    DelayAnswer {
        /// How much.
        #[serde(with = "duration")]
        by: Duration,
    },
    /// The answer breaks off in the middle of its body.
    Truncate,
    /// The operation that it starts ends Failed.
    FailOperation {
        /// `error.code` of the operation.
        #[serde(default = "internal")]
        code: String,
        /// `error.message`.
        #[serde(default = "internal_message")]
        message: String,
    },
    /// The operation that it starts takes so much longer; the cut may be anywhere in that time.
    Stay {
        /// How much.
        #[serde(with = "duration", rename = "for")]
        period: Duration,
    },
    /// The disk that it names as source is deleted once it is accepted, before the cut.
    DeleteSource,
    /// The request's principal may not do this action (a pattern such as `Microsoft.Compute/disks/*`).
    Deny {
        /// Which.
        action: String,
    },
}

fn internal() -> String {
    "InternalExecutionError".into()
}

fn internal_message() -> String {
    "An internal execution error occurred. Please retry later.".into()
}

impl fmt::Display for Action {
    /// As it is written into the request log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status { status, .. } => write!(f, "status {status}"),
            Self::CloseBefore => f.write_str("close before"),
            Self::CloseAfter => f.write_str("close after"),
            Self::Hang { period } => write!(f, "hang for {period:?}"),
            Self::Delay { by } => write!(f, "delay by {by:?}"),
            Self::DelayAnswer { by } => write!(f, "answer delayed by {by:?}"),
            Self::Truncate => f.write_str("truncate"),
            Self::FailOperation { code, .. } => write!(f, "fail operation {code}"),
            Self::Stay { period } => write!(f, "stay for {period:?}"),
            Self::DeleteSource => f.write_str("delete source"),
            Self::Deny { action } => write!(f, "deny {action}"),
        }
    }
}

/// The faults that are armed.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<Armed>);

#[derive(Debug)]
struct Armed {
    fault: Fault,
    seen: u32,
}

impl Faults {
    pub(crate) fn arm(&mut self, fault: Fault) {
        self.0.push(Armed { fault, seen: 0 });
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Those armed and not used up.
    pub(crate) fn pending(&self) -> Vec<Fault> {
        let pending = self.0.iter().filter(|armed| !armed.spent());
        pending.map(|armed| armed.fault.clone()).collect()
    }

    /// What a request meets; it counts for every fault that it matches.
    pub(crate) fn meet(&mut self, method: &str, path: &str) -> Vec<Action> {
        let mut actions = Vec::new();
        for armed in &mut self.0 {
            let fault = &armed.fault;
            let method_fits = fault
                .method
                .as_ref()
                .is_none_or(|m| m.eq_ignore_ascii_case(method));
            if method_fits && glob::matches(&fault.path, path) && !armed.spent() {
                armed.seen += 1;
                if armed.seen > armed.fault.skip {
                    actions.push(armed.fault.action.clone());
                }
            }
        }
        actions
    }
}

impl Armed {
    fn spent(&self) -> bool {
        let Fault { skip, times, .. } = self.fault;
        times != 0 && self.seen >= skip.saturating_add(times)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fault_meets_the_nth_request_as_often_as_asked() {
        let json = r#"{"path": "**/disks/*", "skip": 1, "times": 2, "action": "closeAfter"}"#;
        let mut faults = Faults::default();
        faults.arm(serde_json::from_str(json).unwrap());
        let met: Vec<_> = (0..5)
            .map(|_| faults.meet("GET", "/x/Disks/d").len())
            .collect();
        assert_eq!(met, [0, 1, 1, 0, 0]);
        assert!(faults.pending().is_empty());
    }
}
