//! A verdict where people look for it: on the content, on its VolumeSnapshot, and as an Event.

use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Api,
    api::{Patch, PatchParams},
    core::DynamicObject,
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use super::{
    super::{PATIENCE, described, news},
    Snapshots,
};
use crate::{
    config::FreezeMode,
    gate::{
        annotations::{COMPLETE, HOLD, PENDING, STATE, of_worth, set, test},
        ports::Verdict,
    },
    ports::News,
};

/// How long it is tried to write it down; the API server may be away.
const TRIED_FOR: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// What came of a request.
enum Outcome {
    Done,
    /// Somebody else has the last word, or it is gone.
    Not,
    Again(String),
}

/// Whether it was ours to tell.
pub(super) async fn tell(cluster: &Snapshots, verdict: &Verdict) -> bool {
    let kind = verdict.content.kind;
    let mut patch = vec![test(HOLD, &verdict.hold)];
    if verdict.orphan {
        patch.push(test(STATE, PENDING));
    }
    patch.extend(set(of_worth(&verdict.worth)));
    patch.extend(set([(STATE, COMPLETE.to_owned())].into()));
    let patch: Patch<Value> = Patch::Json(json_patch::Patch(patch));
    let Some(contents) = cluster.api(kind, kind.content(), None) else {
        return false;
    };
    if !insist(&contents, &verdict.content.name, &patch).await {
        return false;
    }
    let snapshot = &verdict.snapshot;
    let snapshots = cluster.api(kind, kind.snapshot(), Some(&snapshot.namespace));
    let Some(snapshots) = snapshots.filter(|_| verdict.taken) else {
        return true;
    };
    // Another of the same name is refused by its UID.
    let annotations = of_worth(&verdict.worth);
    let patch = json!({ "metadata": { "uid": snapshot.uid, "annotations": annotations } });
    insist(&snapshots, &snapshot.name, &Patch::Merge(patch)).await;
    let reference = ObjectReference {
        api_version: Some(format!("{}/v1", kind.api_group())),
        kind: Some(kind.snapshot().to_owned()),
        namespace: Some(snapshot.namespace.clone()),
        name: Some(snapshot.name.clone()),
        uid: Some(snapshot.uid.clone()),
        ..ObjectReference::default()
    };
    let news = News::Taken {
        snapshot: snapshot.name.clone(),
        worth: verdict.worth.clone(),
        mode: verdict.mode.unwrap_or(FreezeMode::Auto),
    };
    news::record(cluster.client.clone(), reference, &news).await;
    true
}

/// Tries until it is done or cannot be. Whether it was done.
async fn insist(api: &Api<DynamicObject>, name: &str, patch: &Patch<Value>) -> bool {
    let until = Instant::now() + TRIED_FOR;
    let mut pause = PAUSE;
    loop {
        match once(api, name, patch).await {
            Outcome::Done => return true,
            Outcome::Not => return false,
            Outcome::Again(reason) if Instant::now() + pause > until => {
                let url = api.resource_url();
                tracing::warn!(url, name, reason, "a verdict could not be written");
                return false;
            }
            Outcome::Again(_) => sleep(pause).await,
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn once(api: &Api<DynamicObject>, name: &str, patch: &Patch<Value>) -> Outcome {
    match timeout(PATIENCE, api.patch(name, &PatchParams::default(), patch)).await {
        Ok(Ok(_)) => Outcome::Done,
        // 422: a test that failed; 409: another UID.
        Ok(Err(kube::Error::Api(status))) if [404, 409, 422].contains(&status.code) => Outcome::Not,
        Ok(Err(error)) => Outcome::Again(described(&error)),
        Err(_) => Outcome::Again(format!("no answer within {PATIENCE:?}")),
    }
}
