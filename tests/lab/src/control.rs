//! The control API: what other processes use to arrange a lab and to look behind Azure's back.
//!
//! Plain HTTP under `/lab`, JSON without unknown fields, no authentication: it listens on loopback
//! unless told otherwise. IDs in queries are full resource IDs (`?id=/subscriptions/…`).
//!
//! | request | does |
//! |---|---|
//! | `GET /lab/settings`, `PATCH /lab/settings` | settings; a patch names what changes, and request buckets start full |
//! | `POST /lab/subscriptions` | `{"id", "tenant"}` |
//! | `POST /lab/groups` | `{"subscription", "name", "location"}` |
//! | `POST /lab/identities` | an [`Identity`](crate::Identity): `{"tenant", "clientId", "objectId", "credentials": [{"secret": "…"}], "denied": []}` |
//! | `DELETE /lab/tokens` | all tokens given so far are refused |
//! | `POST /lab/registrations` | `{"id", "location"}`: a disk encryption set or disk access exists |
//! | `GET /lab/disks` | `[{"id", "file", "disk": …as ARM shows it}]` |
//! | `POST /lab/disks` | a [`NewDisk`](crate::NewDisk): `{"id", "sku", "gib", "location", "zone", "tags", "properties"}`; answers like one entry of the list |
//! | `DELETE /lab/disks?id=` | deletes at once |
//! | `POST /lab/disks/attach` | `{"disk", "machine": id or null}` |
//! | `GET /lab/snapshots` | a [`SnapshotView`](crate::SnapshotView) each: `accepted`, `cutBegan`, `cutEnded`, `succeeded` on both clocks, `file`, `tags` |
//! | `POST /lab/snapshots/backdate` | `{"id", "by": "2h"}`: as if it had been made so much earlier |
//! | `GET /lab/accounts` | `[{"id", "keys": {"key1", "key2"}, "account": …as ARM shows it}]`, storage accounts |
//! | `POST /lab/accounts` | a [`NewStorageAccount`](crate::NewStorageAccount): `{"id", "blobEndpoint", "key1", "key2", "allowSharedKeyAccess", "location", "sku"}`; answers like one entry of the list |
//! | `PATCH /lab/accounts` | `{"id", "allowSharedKeyAccess": true, false or null}` |
//! | `DELETE /lab/accounts?id=` | removes one with its lock |
//! | `POST /lab/accounts/keys` | `{"id", "keyName": "key1", "value"}`: replaces a key, by a new one without a value; answers `{"value"}` |
//! | `POST /lab/locks`, `DELETE /lab/locks?scope=` | `{"scope"}`: a ReadOnly lock on a subscription, group or resource |
//! | `POST /lab/copies` | `{"id"}` of a snapshot or disk: answers `{"file"}`, a copy to mount |
//! | `GET`, `POST`, `DELETE /lab/faults` | armed ones; arms a [`Fault`](crate::Fault); disarms all |
//! | `GET`, `DELETE /lab/requests` | the request log ([`RequestRecord`](crate::RequestRecord)); empties it |

mod storage;

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    Fault, Identity, LabError, NewDisk, ResourceId, Settings,
    arm::{facts, lifecycle, views},
    settings::duration,
    shared::Shared,
};

type Lab = State<Arc<Shared>>;

/// Serves the control API until `end`.
pub(crate) async fn serve(shared: Arc<Shared>, listener: TcpListener, end: CancellationToken) {
    let routes = Router::new()
        .route("/settings", get(settings).patch(patch_settings))
        .route("/subscriptions", post(add_subscription))
        .route("/groups", post(add_group))
        .route("/identities", post(add_identity))
        .route("/tokens", delete(revoke))
        .route("/registrations", post(register))
        .route(
            "/disks",
            get(list_disks).post(create_disk).delete(delete_disk),
        )
        .route("/disks/attach", post(attach))
        .route("/snapshots", get(list_snapshots))
        .route("/snapshots/backdate", post(backdate))
        .route("/copies", post(copy))
        .route("/faults", get(faults).post(inject).delete(clear_faults))
        .route("/requests", get(requests).delete(clear_requests))
        .merge(storage::routes())
        .with_state(shared);
    let server = axum::serve(listener, Router::new().nest("/lab", routes));
    // Not gracefully: a client that keeps its connection must not keep the lab.
    if let Some(Err(error)) = end.run_until_cancelled(server.into_future()).await {
        tracing::error!(%error, "the control API ended");
    }
}

/// Why a control request is refused.
struct Refused(StatusCode, String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, Json(json!({"error": self.1}))).into_response()
    }
}

impl From<LabError> for Refused {
    fn from(error: LabError) -> Self {
        let status = match &error {
            LabError::Refused { .. } => StatusCode::CONFLICT,
            LabError::Missing(_) => StatusCode::NOT_FOUND,
            LabError::Settings(_) => StatusCode::BAD_REQUEST,
            LabError::Pool { .. }
            | LabError::Listen { .. }
            | LabError::Io(_)
            | LabError::Certificates(_)
            | LabError::Thread(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self(status, error.to_string())
    }
}

/// A body, read without regard to Content-Type; what is wrong with it is said.
fn read<T: DeserializeOwned>(body: &bytes::Bytes) -> Result<T, Refused> {
    serde_json::from_slice(body)
        .map_err(|error| Refused(StatusCode::BAD_REQUEST, error.to_string()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ById {
    id: ResourceId,
}

async fn settings(State(shared): Lab) -> Json<Settings> {
    Json(shared.world().settings.clone())
}

async fn patch_settings(State(shared): Lab, body: bytes::Bytes) -> Result<Json<Settings>, Refused> {
    let patch: Value = read(&body)?;
    let current = shared.world().settings.clone();
    let mut merged =
        serde_json::to_value(&current).map_err(|error| LabError::Settings(error.to_string()))?;
    merge(&mut merged, patch);
    let changed: Settings =
        serde_json::from_value(merged).map_err(|error| LabError::Settings(error.to_string()))?;
    let fixed = |settings: &Settings| {
        (
            settings.directory.clone(),
            settings.pool,
            settings.listen,
            settings.imds,
            settings.control,
        )
    };
    if fixed(&changed) != fixed(&current) {
        return Err(LabError::Settings(
            "directory, pool and addresses cannot change while the lab runs".into(),
        )
        .into());
    }
    shared.change_settings(|settings| *settings = changed);
    Ok(settings(State(shared)).await)
}

fn merge(current: &mut Value, patch: Value) {
    match (current, patch) {
        (Value::Object(current), Value::Object(patch)) => {
            for (name, value) in patch {
                merge(current.entry(name).or_insert(Value::Null), value);
            }
        }
        (current, patch) => *current = patch,
    }
}

async fn add_subscription(State(shared): Lab, body: bytes::Bytes) -> Result<StatusCode, Refused> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct New {
        id: String,
        tenant: String,
    }
    let New { id, tenant } = read(&body)?;
    shared.add_subscription(&id, &tenant);
    Ok(StatusCode::NO_CONTENT)
}

async fn add_group(State(shared): Lab, body: bytes::Bytes) -> Result<StatusCode, Refused> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct New {
        subscription: String,
        name: String,
        location: String,
    }
    let New {
        subscription,
        name,
        location,
    } = read(&body)?;
    shared.add_resource_group(&subscription, &name, &location)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn add_identity(State(shared): Lab, body: bytes::Bytes) -> Result<StatusCode, Refused> {
    shared.add_identity(read::<Identity>(&body)?);
    Ok(StatusCode::NO_CONTENT)
}

async fn revoke(State(shared): Lab) -> StatusCode {
    shared.world().tokens.clear();
    StatusCode::NO_CONTENT
}

async fn register(State(shared): Lab, body: bytes::Bytes) -> Result<StatusCode, Refused> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct New {
        id: ResourceId,
        location: String,
    }
    let New { id, location } = read(&body)?;
    shared.register(&id, &location);
    Ok(StatusCode::NO_CONTENT)
}

async fn list_disks(State(shared): Lab) -> Json<Value> {
    let world = shared.world();
    let view = |disk| disk_view(disk);
    Json(world.disks.values().map(view).collect())
}

fn disk_view(disk: &crate::world::Disk) -> Value {
    json!({"id": disk.id, "file": disk.file, "disk": views::disk(disk)})
}

async fn create_disk(State(shared): Lab, body: bytes::Bytes) -> Result<Json<Value>, Refused> {
    let new: NewDisk = read(&body)?;
    let id = shared.create_disk(&new)?;
    let made = shared.world().disks.get(&id.key()).map(disk_view);
    Ok(Json(made.unwrap_or_default()))
}

async fn delete_disk(State(shared): Lab, Query(ById { id }): Query<ById>) -> StatusCode {
    lifecycle::remove_disk(&mut shared.world(), &id.key());
    StatusCode::NO_CONTENT
}

async fn attach(State(shared): Lab, body: bytes::Bytes) -> Result<StatusCode, Refused> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Attach {
        disk: ResourceId,
        machine: Option<ResourceId>,
    }
    let Attach { disk, machine } = read(&body)?;
    shared.attach(&disk, machine)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn list_snapshots(State(shared): Lab) -> Json<Vec<crate::SnapshotView>> {
    Json(shared.world().snapshots.values().map(facts::of).collect())
}

async fn backdate(State(shared): Lab, body: bytes::Bytes) -> Result<StatusCode, Refused> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Backdate {
        id: ResourceId,
        #[serde(with = "duration")]
        by: Duration,
    }
    let Backdate { id, by } = read(&body)?;
    shared.backdate_snapshot(&id, by)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn copy(State(shared): Lab, body: bytes::Bytes) -> Result<Json<Value>, Refused> {
    let ById { id } = read(&body)?;
    Ok(Json(json!({"file": shared.copy_of(&id)?})))
}

async fn faults(State(shared): Lab) -> Json<Vec<Fault>> {
    Json(shared.world().faults.pending())
}

async fn inject(State(shared): Lab, body: bytes::Bytes) -> Result<StatusCode, Refused> {
    shared.world().faults.arm(read::<Fault>(&body)?);
    Ok(StatusCode::NO_CONTENT)
}

async fn clear_faults(State(shared): Lab) -> StatusCode {
    shared.world().faults.clear();
    StatusCode::NO_CONTENT
}

async fn requests(State(shared): Lab) -> Json<Vec<crate::RequestRecord>> {
    Json(shared.world().log.records())
}

async fn clear_requests(State(shared): Lab) -> StatusCode {
    shared.world().log.clear();
    StatusCode::NO_CONTENT
}
