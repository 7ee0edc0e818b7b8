//! What the lab knows of a snapshot and Azure does not tell: its moments and its file.

use serde::Serialize;

use crate::{Moment, ResourceId, world::Snapshot};

/// What the lab knows of a snapshot beyond what Azure shows.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotView {
    /// Its ID.
    pub id: ResourceId,
    /// The disk it was cut from.
    pub source: ResourceId,
    /// `provisioningState`.
    pub state: String,
    /// Its tags.
    pub tags: std::collections::BTreeMap<String, String>,
    /// Whether it is incremental.
    pub incremental: bool,
    /// Background copy, 0 to 100.
    pub completion_percent: f64,
    /// The file with its data; it exists after the cut.
    pub file: std::path::PathBuf,
    /// When its PUT arrived.
    pub accepted: Moment,
    /// Just before the data was cut.
    pub cut_began: Option<Moment>,
    /// Just after the data was cut.
    pub cut_ended: Option<Moment>,
    /// When its `provisioningState` became Succeeded.
    pub succeeded: Option<Moment>,
}

/// What it knows of this one.
pub(crate) fn of(snapshot: &Snapshot) -> SnapshotView {
    SnapshotView {
        id: snapshot.id.clone(),
        source: snapshot.source.clone(),
        state: snapshot.state.name().into(),
        tags: snapshot.tags.clone().unwrap_or_default(),
        incremental: snapshot.incremental,
        completion_percent: snapshot.completion(Moment::now().instant),
        file: snapshot.file.clone(),
        accepted: snapshot.accepted,
        cut_began: snapshot.cut.map(|(began, _)| began),
        cut_ended: snapshot.cut.map(|(_, ended)| ended),
        succeeded: snapshot.succeeded,
    }
}
