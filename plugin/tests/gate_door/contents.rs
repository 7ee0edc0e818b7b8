//! The contents and group contents that the tests write, of the smallest kinds that an API server takes for them.

use anyhow::{Context as _, Result};
use kube::{
    Api,
    api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams},
    core::GroupVersionKind,
};
use serde_json::{Value, json};
use stillpoint_cluster::until;

use crate::scene::{SOON, Scene};

const CONTENT_MARK: &str = "snapshot.storage.kubernetes.io/volumesnapshot-being-created";
const GROUP_MARK: &str = "groupsnapshot.storage.kubernetes.io/volumegroupsnapshot-being-created";

/// One of the two kinds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Content,
    /// In a version of its group.
    Group(&'static str),
}

impl Kind {
    pub(crate) fn mark(self) -> &'static str {
        match self {
            Self::Content => CONTENT_MARK,
            Self::Group(_) => GROUP_MARK,
        }
    }

    fn group(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Content => ("snapshot.storage.k8s.io", "v1", "VolumeSnapshotContent"),
            Self::Group(version) => (
                "groupsnapshot.storage.k8s.io",
                version,
                "VolumeGroupSnapshotContent",
            ),
        }
    }

    /// Good for a freeze.
    pub(crate) fn object(self, name: &str) -> Value {
        let (group, version, kind) = self.group();
        let mut object = json!({
            "apiVersion": format!("{group}/{version}"), "kind": kind,
            "metadata": { "name": name },
            "spec": { "driver": "disk.csi.azure.com", "deletionPolicy": "Delete" },
        });
        object["spec"]["source"] = match self {
            Self::Content => json!({ "volumeHandle": "/subscriptions/s/disks/d" }),
            Self::Group(_) => json!({ "volumeHandles": ["/subscriptions/s/disks/d"] }),
        };
        object
    }
}

impl Scene {
    /// Makes both kinds known.
    pub(crate) async fn with_kinds(&self) {
        for (kind, versions) in [
            (Kind::Content, &["v1"][..]),
            (Kind::Group("v1"), &["v1", "v1beta2", "v1beta1"]),
        ] {
            let (group, _, name) = kind.group();
            let plural = format!("{}s", name.to_lowercase());
            let versions = versions.iter().map(|version| {
                let open =
                    json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
                json!({
                    "name": version, "served": true, "storage": *version == "v1",
                    "schema": { "openAPIV3Schema": open },
                    "subresources": { "status": {} },
                })
            });
            let versions: Vec<_> = versions.collect();
            let approved = "https://github.com/kubernetes-csi/external-snapshotter/pull/814";
            self.cluster
                .apply(json!({
                    "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                    "metadata": {
                        "name": format!("{plural}.{group}"),
                        // Else the group is not to be made known by anyone.
                        "annotations": { "api-approved.kubernetes.io": approved },
                    },
                    "spec": {
                        "group": group, "scope": "Cluster", "versions": versions,
                        "names": { "kind": name, "plural": plural, "singular": name.to_lowercase() },
                    },
                }))
                .await
                .unwrap();
            for version in ["v1"] {
                let kind = match kind {
                    Kind::Content => Kind::Content,
                    Kind::Group(_) => Kind::Group(version),
                };
                let served = until("the kind is served", SOON, async || {
                    let listed = self.api(kind).list(&Default::default()).await;
                    Ok(listed.map(|_| Some(()))?)
                });
                served.await.unwrap();
            }
        }
    }

    pub(crate) fn api(&self, kind: Kind) -> Api<DynamicObject> {
        let (group, version, name) = kind.group();
        let kind = GroupVersionKind::gvk(group, version, name);
        Api::all_with(self.client(), &ApiResource::from_gvk(&kind))
    }

    /// A content; `changes` are merged into one that is good for a freeze.
    pub(crate) async fn create(&self, name: &str, changes: Value) -> Result<DynamicObject> {
        self.create_of(Kind::Content, name, changes).await
    }

    pub(crate) async fn create_of(
        &self,
        kind: Kind,
        name: &str,
        changes: Value,
    ) -> Result<DynamicObject> {
        let mut object = kind.object(name);
        merge(&mut object, &changes);
        let object: DynamicObject = serde_json::from_value(object)?;
        let created = self.api(kind).create(&PostParams::default(), &object).await;
        created.with_context(|| format!("creating {name}"))
    }

    /// As csi-snapshotter does before each attempt.
    pub(crate) async fn mark(&self, name: &str) -> Result<DynamicObject> {
        self.update(Kind::Content, name, marked(Kind::Content))
            .await
    }

    pub(crate) async fn update(
        &self,
        kind: Kind,
        name: &str,
        changes: Value,
    ) -> Result<DynamicObject> {
        let params = PatchParams::default();
        let patched = self
            .api(kind)
            .patch(name, &params, &Patch::Merge(changes))
            .await;
        patched.with_context(|| format!("updating {name}"))
    }

    pub(crate) async fn set_status(&self, kind: Kind, name: &str, status: Value) {
        let params = PatchParams::default();
        let patch = Patch::Merge(json!({ "status": status }));
        let api = self.api(kind);
        api.patch_status(name, &params, &patch).await.unwrap();
    }
}

pub(crate) fn marked(kind: Kind) -> Value {
    json!({ "metadata": { "annotations": { kind.mark(): "yes" } } })
}

/// As a JSON merge patch.
fn merge(object: &mut Value, changes: &Value) {
    let Some(changes) = changes.as_object() else {
        *object = changes.clone();
        return;
    };
    for (key, value) in changes {
        if value.is_null() {
            object.as_object_mut().unwrap().remove(key);
        } else {
            if !object[key].is_object() {
                object[key] = json!({});
            }
            merge(&mut object[key], value);
        }
    }
}
