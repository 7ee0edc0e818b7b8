//! Snapshots, made and deleted as azuredisk-csi-driver v1.34 does:
//!
//! ```text
//! GET snapshot ── there, of this disk ────────────────────────────────┐
//!   │ else                                                            │
//!  PUT ── poll at once and every 5 s ── Succeeded ── GET ─────────── GET ── handle; ready: Succeeded and 100 %
//!   └ refused            └ Failed
//!     Internal             Internal; the next attempt finds the failed snapshot and returns it, never ready
//! ```
//!
//! Not so here: the real one repeats throttled and failed requests itself before it gives up.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use serde_json::{Map, Value, json};
use stillpoint_lab::{Kind, Lab, ResourceId};
use stillpoint_system::arm::Arm;
use tokio::sync::OnceCell;
use tonic::{Request, Response, Status, async_trait};

use super::{
    answers,
    proto::{
        ControllerGetCapabilitiesRequest, ControllerGetCapabilitiesResponse, CreateSnapshotRequest,
        CreateSnapshotResponse, DeleteSnapshotRequest, DeleteSnapshotResponse, Snapshot,
        controller_server,
    },
};
use crate::csi::LOCATION;

#[derive(Debug)]
pub(super) struct Snapshots {
    lab: Weak<Lab>,
    poll: Duration,
    arm: OnceCell<Arm>,
    busy: Arc<Mutex<BTreeSet<String>>>,
}

/// A snapshot that is being made; a second call for it is refused meanwhile.
struct Busy {
    all: Arc<Mutex<BTreeSet<String>>>,
    name: String,
}

impl Snapshots {
    pub(super) fn new(lab: Weak<Lab>, poll: Duration) -> Self {
        Self {
            lab,
            poll,
            arm: OnceCell::new(),
            busy: Arc::default(),
        }
    }

    /// Logs in with the first request.
    async fn arm(&self) -> Result<&Arm, Status> {
        let login = async || {
            let lab = self
                .lab
                .upgrade()
                .ok_or_else(|| internal("login", "no Azure"))?;
            let arm = Arm::login(&lab).await;
            arm.map_err(|error| internal("login", format!("{error:#}")))
        };
        self.arm.get_or_try_init(login).await
    }

    fn busy(&self, name: &str) -> Result<Busy, Status> {
        let mut all = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        if !all.insert(name.into()) {
            return Err(Status::aborted(format!("{name} is being made already")));
        }
        let all = Arc::clone(&self.busy);
        let name = name.into();
        Ok(Busy { all, name })
    }

    /// The snapshot as Azure shows it, if it does.
    async fn shown(&self, id: &ResourceId) -> Result<Value, Status> {
        let answer = self.arm().await?.get(id).await;
        let answer = answer.map_err(|error| internal("get snapshot", format!("{error:#}")))?;
        if answer.status == 200 {
            return Ok(answer.body);
        }
        let said = format!("{}: {}", answer.status, answer.body);
        Err(internal("get snapshot", said))
    }

    /// The snapshot of that name, made if it is not there.
    pub(super) async fn snapshot(
        &self,
        source: &str,
        name: String,
        parameters: &HashMap<String, String>,
    ) -> Result<Snapshot, Status> {
        let disk: ResourceId = parsed(source)?;
        let id = ResourceId {
            kind: Kind::Snapshot,
            name,
            ..disk
        };
        let body = body(source, parameters)?;
        let _busy = self.busy(&id.name)?;
        let found = self.shown(&id).await.unwrap_or_default();
        if found["properties"]["creationData"]["sourceResourceId"] != *source {
            self.make(&id, &body).await?;
        }
        snapshot(source, &self.shown(&id).await?)
    }

    async fn make(&self, id: &ResourceId, body: &Value) -> Result<(), Status> {
        let arm = self.arm().await?;
        let made = async {
            let begun = arm.put(id, body).await?;
            arm.finish(begun, self.poll).await
        };
        made.await.map_err(|error| {
            let error = format!("{error:#}");
            if error.contains("existing disk") {
                return Status::already_exists(error);
            }
            internal("create snapshot", error)
        })?;
        // The end of Azure's own client for long operations.
        self.shown(id).await.map(drop)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(&self.name);
    }
}

#[async_trait]
impl controller_server::Controller for Snapshots {
    async fn controller_get_capabilities(
        &self,
        _: Request<ControllerGetCapabilitiesRequest>,
    ) -> Result<Response<ControllerGetCapabilitiesResponse>, Status> {
        Ok(Response::new(answers::capabilities()))
    }

    async fn create_snapshot(
        &self,
        request: Request<CreateSnapshotRequest>,
    ) -> Result<Response<CreateSnapshotResponse>, Status> {
        let request = request.into_inner();
        let (source, name) = (&request.source_volume_id, request.name);
        let snapshot = self.snapshot(source, name, &request.parameters).await?;
        Ok(Response::new(CreateSnapshotResponse {
            snapshot: Some(snapshot),
        }))
    }

    async fn delete_snapshot(
        &self,
        request: Request<DeleteSnapshotRequest>,
    ) -> Result<Response<DeleteSnapshotResponse>, Status> {
        let id = parsed(&request.into_inner().snapshot_id)?;
        let arm = self.arm().await?;
        let deleted = async {
            let begun = arm.delete(&id).await?;
            arm.finish(begun, self.poll).await
        };
        let deleted = deleted.await;
        deleted.map_err(|error| internal("delete snapshot", format!("{error:#}")))?;
        Ok(Response::new(DeleteSnapshotResponse {}))
    }
}

pub(super) fn internal(what: &str, why: impl std::fmt::Display) -> Status {
    Status::internal(format!("{what} error: {why}"))
}

fn parsed(id: &str) -> Result<ResourceId, Status> {
    let parsed = id.parse();
    parsed.map_err(|error| Status::invalid_argument(format!("{id}: {error}")))
}

/// What is PUT. The parameters are the class's and what the sidecar adds.
fn body(source: &str, parameters: &HashMap<String, String>) -> Result<Value, Status> {
    let mut tags = Map::new();
    tags.insert("k8s-azure-created-by".into(), "kubernetes-azure-dd".into());
    tags.insert("source_volume_id".into(), source.into());
    let mut incremental = true;
    for (key, value) in parameters {
        let tag = match key.to_ascii_lowercase().as_str() {
            "incremental" => {
                incremental = value != "false";
                continue;
            }
            "csi.storage.k8s.io/volumesnapshotcontent/name" => continue,
            "csi.storage.k8s.io/volumesnapshot/name" => "kubernetes.io-created-for-snapshot-name",
            "csi.storage.k8s.io/volumesnapshot/namespace" => {
                "kubernetes.io-created-for-snapshot-namespace"
            }
            _ => {
                return Err(Status::internal(format!(
                    "{key}={value} in a VolumeSnapshotClass: this driver takes `incremental` alone"
                )));
            }
        };
        tags.insert(tag.into(), value.as_str().into());
    }
    Ok(json!({
        "location": LOCATION,
        "tags": tags,
        "properties": {
            "creationData": { "createOption": "Copy", "sourceResourceId": source },
            "incremental": incremental,
        },
    }))
}

/// What is returned of a snapshot that Azure shows like this.
fn snapshot(source: &str, shown: &Value) -> Result<Snapshot, Status> {
    let properties = &shown["properties"];
    let (Some(id), Some(gib), Some(created)) = (
        shown["id"].as_str(),
        properties["diskSizeGB"].as_i64(),
        properties["timeCreated"].as_str(),
    ) else {
        return Err(internal(
            "get snapshot",
            format!("lacks something: {shown}"),
        ));
    };
    let state = properties["provisioningState"].as_str().unwrap_or_default();
    let percent = properties["completionPercent"].as_f64().unwrap_or(100.0);
    Ok(Snapshot {
        size_bytes: gib << 30,
        snapshot_id: id.into(),
        source_volume_id: source.into(),
        creation_time: created.parse().ok(),
        ready_to_use: state.eq_ignore_ascii_case("Succeeded") && percent >= 100.0,
        group_snapshot_id: String::new(),
    })
}
