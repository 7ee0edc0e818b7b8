//! The snapshots of the cluster, as its gate needs them: contents and classes, followed for as long as the process lives,
//! and verdicts written down.

mod class;
mod content;
mod verdict;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use kube::{
    Client,
    api::Api,
    core::{ApiResource, DynamicObject, GroupVersionKind},
    discovery,
};
use tokio::{sync::watch, time::sleep};

use super::{described, follow, store::Store};
use crate::gate::ports::{Class, Cluster, Content, ContentId, Kind, Verdict};

/// Between two looks for a kind that the cluster does not have.
const ABSENT: Duration = Duration::from_secs(60);

/// The snapshots of a cluster.
pub struct Snapshots {
    client: Client,
    snapshots: Objects,
    groups: Objects,
    changes: Arc<watch::Sender<u64>>,
}

/// Of one kind, and its classes.
struct Objects {
    /// Of its API, once it is known.
    version: OnceLock<String>,
    contents: Arc<Store<Content>>,
    classes: Arc<Store<Class>>,
}

impl Kind {
    fn api_group(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshot.storage.k8s.io",
            Self::Group => "groupsnapshot.storage.k8s.io",
        }
    }

    /// The kind of its contents.
    fn content(self) -> &'static str {
        match self {
            Self::Snapshot => "VolumeSnapshotContent",
            Self::Group => "VolumeGroupSnapshotContent",
        }
    }

    fn class(self) -> &'static str {
        match self {
            Self::Snapshot => "VolumeSnapshotClass",
            Self::Group => "VolumeGroupSnapshotClass",
        }
    }

    fn snapshot(self) -> &'static str {
        match self {
            Self::Snapshot => "VolumeSnapshot",
            Self::Group => "VolumeGroupSnapshot",
        }
    }
}

impl Snapshots {
    /// Begins to follow them.
    pub(super) fn begin(client: Client) -> Arc<Self> {
        let changes = Arc::new(watch::Sender::new(0));
        let snapshots = Arc::new(Self {
            client,
            snapshots: Objects::new("VolumeSnapshotContents", "VolumeSnapshotClasses", &changes),
            groups: Objects::new(
                "VolumeGroupSnapshotContents",
                "VolumeGroupSnapshotClasses",
                &changes,
            ),
            changes,
        });
        // `v1` is served wherever there is a csi-snapshotter of this decade.
        let _ = snapshots.snapshots.version.set("v1".to_owned());
        snapshots.follow(Kind::Snapshot);
        let groups = Arc::clone(&snapshots);
        tokio::spawn(async move { groups.follow_groups().await });
        snapshots
    }

    /// Whether it is known which contents there are.
    ///
    /// # Errors
    /// The reason why not.
    pub fn ready(&self) -> Result<(), String> {
        self.snapshots.contents.listed()
    }

    fn objects(&self, kind: Kind) -> &Objects {
        match kind {
            Kind::Snapshot => &self.snapshots,
            Kind::Group => &self.groups,
        }
    }

    fn follow(&self, kind: Kind) {
        let objects = self.objects(kind);
        let (Some(contents), Some(classes)) = (
            self.api(kind, kind.content(), None),
            self.api(kind, kind.class(), None),
        ) else {
            return;
        };
        let keep = match kind {
            Kind::Snapshot => content::of_snapshot,
            Kind::Group => content::of_group,
        };
        tokio::spawn(follow::follow(
            contents,
            Arc::clone(&objects.contents),
            keep,
        ));
        tokio::spawn(follow::follow(
            classes,
            Arc::clone(&objects.classes),
            class::of,
        ));
    }

    /// Most clusters have no kinds for groups; they may come, in a version of their own.
    async fn follow_groups(&self) {
        loop {
            match discovery::group(&self.client, Kind::Group.api_group()).await {
                Ok(group) => {
                    let _ = self
                        .groups
                        .version
                        .set(group.preferred_version_or_latest().to_owned());
                    return self.follow(Kind::Group);
                }
                Err(error) => {
                    tracing::debug!(error = described(&error), "no group snapshots here yet");
                    sleep(ABSENT).await;
                }
            }
        }
    }

    /// `None` if the cluster does not have the kind.
    fn api(&self, kind: Kind, name: &str, namespace: Option<&str>) -> Option<Api<DynamicObject>> {
        let version = self.objects(kind).version.get()?;
        let kind = GroupVersionKind::gvk(kind.api_group(), version, name);
        let resource = ApiResource::from_gvk(&kind);
        let client = self.client.clone();
        Some(match namespace {
            Some(namespace) => Api::namespaced_with(client, namespace, &resource),
            None => Api::all_with(client, &resource),
        })
    }
}

impl Objects {
    fn new(
        contents: &'static str,
        classes: &'static str,
        changes: &Arc<watch::Sender<u64>>,
    ) -> Self {
        Self {
            version: OnceLock::new(),
            contents: Arc::new(Store::telling(contents, Arc::clone(changes))),
            classes: Arc::new(Store::new(classes)),
        }
    }
}

#[async_trait]
impl Cluster for Snapshots {
    fn content(&self, id: &ContentId) -> Option<Content> {
        let content = self.objects(id.kind).contents.get(&id.name)?;
        (content.uid == id.uid).then_some(content)
    }

    fn pending(&self) -> Vec<(ContentId, Content)> {
        let of = |kind: Kind| {
            self.objects(kind).contents.find(|name, content| {
                content.pending.then(|| {
                    let id = ContentId {
                        kind,
                        name: name.to_owned(),
                        uid: content.uid.clone(),
                    };
                    (id, content.clone())
                })
            })
        };
        let mut pending = of(Kind::Snapshot);
        pending.extend(of(Kind::Group));
        pending
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    async fn class(&self, kind: Kind, name: &str) -> Result<Class, String> {
        let classes = &self.objects(kind).classes;
        classes.current().await?;
        let class = classes.get(name);
        class.ok_or_else(|| format!("there is no {} {name}", kind.class()))
    }

    async fn tell(&self, verdict: &Verdict) -> bool {
        verdict::tell(self, verdict).await
    }
}
