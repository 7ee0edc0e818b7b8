//! Events, as `kubectl describe` shows them: core/v1, by the object's name and uid.

use std::{fmt, time::Duration};

use k8s_openapi::{
    api::core::v1::{Event, EventSource, ObjectReference},
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use tokio::time::timeout;

use super::{described, volume::Claim};
use crate::{config::FreezeMode, model::Consistency, ports::News};

const COMPONENT: &str = "stillpoint";
/// Also the longest that the end of the process waits for it.
const PATIENCE: Duration = Duration::from_secs(1);
/// Kubernetes' own limit, in bytes.
const LONGEST: usize = 1024;

/// Why an Event is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventReason {
    /// A snapshot of a filesystem that stood still.
    SnapshotFrozen,
    /// A snapshot of a volume that was attached nowhere.
    SnapshotUnmounted,
    /// A snapshot as after a power cut.
    SnapshotCrashConsistent,
    /// No snapshot.
    SnapshotFailed,
}

impl EventReason {
    /// Every one.
    pub const ALL: [Self; 4] = [
        Self::SnapshotFrozen,
        Self::SnapshotUnmounted,
        Self::SnapshotCrashConsistent,
        Self::SnapshotFailed,
    ];
}

impl fmt::Display for EventReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SnapshotFrozen => "SnapshotFrozen",
            Self::SnapshotUnmounted => "SnapshotUnmounted",
            Self::SnapshotCrashConsistent => "SnapshotCrashConsistent",
            Self::SnapshotFailed => "SnapshotFailed",
        })
    }
}

/// Records it on the PVC.
pub(super) async fn tell(client: Client, claim: &Claim, news: &News) {
    let claim = ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("PersistentVolumeClaim".to_owned()),
        namespace: Some(claim.namespace.clone()),
        name: Some(claim.name.clone()),
        uid: claim.uid.clone(),
        ..ObjectReference::default()
    };
    record(client, claim, news).await;
}

/// Records it on an object of a namespace. What fails is only logged.
pub(super) async fn record(client: Client, object: ObjectReference, news: &News) {
    let (namespace, kind) = (object.namespace.clone(), object.kind.clone());
    let (namespace, kind) = (namespace.unwrap_or_default(), kind.unwrap_or_default());
    let name = object.name.clone().unwrap_or_default();
    let api: Api<Event> = Api::namespaced(client, &namespace);
    let event = event(object, news);
    let params = PostParams::default();
    let reason = match timeout(PATIENCE, api.create(&params, &event)).await {
        Ok(Ok(_)) => return,
        Ok(Err(error)) => described(&error),
        Err(_) => format!("no answer within {PATIENCE:?}"),
    };
    tracing::info!(namespace, kind, name, reason, "no Event on it");
}

fn event(object: ObjectReference, news: &News) -> Event {
    let (kind, reason, message) = told(news);
    let now = Some(Time(Timestamp::now()));
    Event {
        metadata: ObjectMeta {
            generate_name: Some(format!("{COMPONENT}-")),
            namespace: object.namespace.clone(),
            ..ObjectMeta::default()
        },
        involved_object: object,
        type_: Some(kind.to_owned()),
        reason: Some(reason.to_string()),
        message: Some(shortened(message)),
        source: Some(EventSource {
            component: Some(COMPONENT.to_owned()),
            host: None,
        }),
        reporting_component: Some(COMPONENT.to_owned()),
        first_timestamp: now.clone(),
        last_timestamp: now,
        count: Some(1),
        ..Event::default()
    }
}

/// Type, reason and message.
fn told(news: &News) -> (&'static str, EventReason, String) {
    let (snapshot, worth, mode) = match news {
        News::NotTaken(reason) => {
            return (
                "Warning",
                EventReason::SnapshotFailed,
                format!("no snapshot: {reason}"),
            );
        }
        News::Taken {
            snapshot,
            worth,
            mode,
        } => (snapshot, worth, *mode),
    };
    let frozen = match worth.frozen.as_millis() {
        0 => String::new(),
        milliseconds => format!(" (frozen for {milliseconds} ms)"),
    };
    let message = |what: &str| format!("snapshot {snapshot} {what}{frozen}: {}", worth.reason);
    match (worth.consistency, mode) {
        (Consistency::Filesystem, _) => (
            "Normal",
            EventReason::SnapshotFrozen,
            message("is filesystem-consistent"),
        ),
        (Consistency::Unmounted, _) => (
            "Normal",
            EventReason::SnapshotUnmounted,
            message("is of an unmounted volume"),
        ),
        (Consistency::Crash, FreezeMode::Off) => (
            "Normal",
            EventReason::SnapshotCrashConsistent,
            message("is crash-consistent as asked for"),
        ),
        (Consistency::Crash, FreezeMode::Auto | FreezeMode::Required) => (
            "Warning",
            EventReason::SnapshotCrashConsistent,
            message("is crash-consistent only"),
        ),
    }
}

fn shortened(mut message: String) -> String {
    if message.len() > LONGEST {
        let end = message.floor_char_boundary(LONGEST - '…'.len_utf8());
        message.truncate(end);
        message.push('…');
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::Worth,
        ports::News::{NotTaken, Taken},
    };

    #[test]
    fn an_event_says_what_it_cost_and_why() {
        let taken = |consistency, mode, frozen| Taken {
            snapshot: "snap-1".to_owned(),
            worth: Worth {
                consistency,
                reason: "why".to_owned(),
                frozen: Duration::from_millis(frozen),
            },
            mode,
        };
        use Consistency::{Crash, Filesystem, Unmounted};
        use FreezeMode::{Auto, Off};
        for (news, kind, reason, message) in [
            (
                taken(Filesystem, Auto, 812),
                "Normal",
                "SnapshotFrozen",
                "frozen for 812 ms",
            ),
            (
                taken(Unmounted, Auto, 0),
                "Normal",
                "SnapshotUnmounted",
                "snap-1",
            ),
            (
                taken(Crash, Auto, 0),
                "Warning",
                "SnapshotCrashConsistent",
                "only: why",
            ),
            (
                taken(Crash, Off, 0),
                "Normal",
                "SnapshotCrashConsistent",
                "as asked for",
            ),
            (
                NotTaken("no agent".to_owned()),
                "Warning",
                "SnapshotFailed",
                "no agent",
            ),
        ] {
            let seen = told(&news);
            assert_eq!(
                (seen.0, seen.1.to_string().as_str()),
                (kind, reason),
                "{news:?}"
            );
            assert!(seen.2.contains(message), "{}", seen.2);
        }
    }

    #[test]
    fn a_long_reason_is_cut_between_letters() {
        let cut = shortened("ü".repeat(LONGEST));
        assert!(cut.len() <= LONGEST && cut.ends_with("ü…"), "{}", cut.len());
    }
}
