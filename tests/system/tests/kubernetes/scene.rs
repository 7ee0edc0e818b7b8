//! A cluster of one node with an agent, a volume in namespace `shop`, and the accounts of agent and plugin with the
//! rights that the chart gives them, and no others.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};
use k8s_openapi::api::{coordination::v1::Lease, core::v1::Event};
use kube::{
    Api, Client,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use stillpoint_cluster::{Cluster, Parts, until};
use stillpoint_lab::{
    Settings, SnapshotView,
    host::{Plugin, Snapshotter},
};
use stillpoint_loopfs::Kind;
use stillpoint_system::rig::{Rig, Volume, ZONE};

const SOON: Duration = Duration::from_secs(20);
/// Fields are dropped in their order.
pub(crate) struct Scene {
    pub(crate) volume: Volume,
    pub(crate) rig: Rig,
    pub(crate) cluster: Cluster,
    pub(crate) kubeconfig: PathBuf,
}

impl Scene {
    /// `None` where none can be, said loudly.
    pub(crate) async fn start() -> Option<Self> {
        let missing = stillpoint_loopfs::missing().or_else(stillpoint_cluster::missing);
        if let Some(why) = missing {
            eprintln!("SKIPPED: {why}");
            return None;
        }
        Some(Self::set().await.unwrap())
    }

    async fn set() -> Result<Self> {
        let cluster = Cluster::start(Parts::Api).await?;
        cluster
            .apply(
                json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "shop" } }),
            )
            .await?;
        cluster
            .apply_chart(&json!({ "gate": { "enabled": false } }))
            .await?;
        let token = cluster.token("velero", "velero", None).await?;
        let kubeconfig = cluster.kubeconfig_with("velero", &token)?;
        let mut rig = Rig::start(Settings::default()).await?;
        let agent = cluster.agent_kubeconfig("node-1").await?;
        rig.start_agent_of(Some(&agent))?;
        let volume = rig.volume("data", Kind::Ext4)?;
        let claim = cluster
            .apply(json!({
                "apiVersion": "v1", "kind": "PersistentVolumeClaim",
                "metadata": { "namespace": "shop", "name": "data" },
                "spec": {
                    "accessModes": ["ReadWriteOnce"], "volumeName": "pvc-data",
                    "resources": { "requests": { "storage": "1Gi" } },
                },
            }))
            .await?;
        let mut pv = volume.persistent_volume();
        pv["spec"]["claimRef"]["uid"] = json!(claim.metadata.uid);
        // Azure's IDs come in any case.
        pv["spec"]["csi"]["volumeHandle"] = json!(volume.handle().to_lowercase());
        cluster.apply(pv).await?;
        cluster
            .apply(json!({
                "apiVersion": "storage.k8s.io/v1", "kind": "VolumeAttachment",
                "metadata": { "name": "data-on-node-1" },
                "spec": {
                    "attacher": "disk.csi.azure.com", "nodeName": "node-1",
                    "source": { "persistentVolumeName": "pvc-data" },
                },
                "status": { "attached": true },
            }))
            .await?;
        let scene = Self {
            volume,
            rig,
            cluster,
            kubeconfig,
        };
        scene.announced().await?;
        Ok(scene)
    }

    pub(crate) fn client(&self) -> Client {
        self.cluster.client()
    }

    pub(crate) fn leases(&self) -> Api<Lease> {
        Api::namespaced(self.client(), "velero")
    }

    /// Waits until the agent is announced as it runs.
    async fn announced(&self) -> Result<()> {
        let leases = self.leases();
        until("the agent is announced", SOON, async || {
            Ok(leases.get_opt("stillpoint-agent-node-1").await?.map(drop))
        })
        .await
    }

    pub(crate) async fn plugin(&self) -> Plugin {
        self.rig.plugin_of(Some(&self.kubeconfig)).await.unwrap()
    }

    pub(crate) async fn snapshotter(&self, plugin: &Plugin, freeze: &str) -> Snapshotter {
        let more = [("agent", "auto"), ("freeze", freeze)];
        self.rig.snapshotter(plugin, &more).await.unwrap()
    }

    /// As Velero asks.
    pub(crate) async fn snapshot(
        &self,
        snapshotter: &Snapshotter,
    ) -> Result<SnapshotView, tonic::Status> {
        self.snapshot_of(snapshotter, &self.volume).await
    }

    /// The same for another volume.
    pub(crate) async fn snapshot_of(
        &self,
        snapshotter: &Snapshotter,
        volume: &Volume,
    ) -> Result<SnapshotView, tonic::Status> {
        let id = volume.handle();
        snapshotter.volume_info(&id, ZONE).await?;
        let tags = [("velero.io/backup", "b")];
        let snapshot = snapshotter.create_snapshot(&id, ZONE, &tags).await?;
        let snapshot = snapshot.parse().unwrap();
        let seen = self.rig.lab.snapshot(&snapshot);
        volume.write_something().unwrap();
        Ok(seen.unwrap())
    }

    /// An in-tree PV that nothing but a pod says to be on the node.
    pub(crate) async fn add_in_tree(&self, name: &str) -> Result<Volume> {
        let volume = self.rig.volume(name, Kind::Xfs)?;
        let mut pv = volume.persistent_volume();
        let spec = pv["spec"].as_object_mut().context("a PV has a spec")?;
        spec.remove("csi");
        let disk = json!({ "kind": "Managed", "diskName": name, "diskURI": volume.handle() });
        spec.insert("azureDisk".into(), disk);
        self.cluster.apply(pv).await?;
        self.cluster.token("shop", "default", None).await?;
        self.cluster
            .apply(json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": { "namespace": "shop", "name": name },
                "spec": {
                    "nodeName": "node-1",
                    "containers": [{ "name": "app", "image": "app" }],
                    "volumes": [{ "name": "data", "persistentVolumeClaim": { "claimName": name } }],
                },
            }))
            .await?;
        Ok(volume)
    }

    /// Asks with `required` until the watch has brought the volume.
    pub(crate) async fn until_frozen(&self, snapshotter: &Snapshotter, volume: &Volume) {
        let frozen = until("the volume is found", SOON, async || {
            let seen = self.snapshot_of(snapshotter, volume).await?;
            Ok(Some(seen.tags["stillpoint-consistency"].clone()))
        });
        assert_eq!(frozen.await.unwrap(), "filesystem");
    }

    /// Waits for an Event on the PVC of that reason: its type and message.
    pub(crate) async fn event(&self, reason: &str) -> (String, String) {
        let events: Api<Event> = Api::namespaced(self.client(), "shop");
        let claim = "involvedObject.kind=PersistentVolumeClaim,involvedObject.name=data";
        let params = ListParams::default().fields(claim);
        let what = format!("an Event {reason}");
        let found = until(&what, SOON, async || {
            let all = events.list(&params).await.context("listing Events")?.items;
            let found = all
                .into_iter()
                .find(|event| event.reason.as_deref() == Some(reason));
            Ok(found)
        });
        let found = found.await.unwrap();
        assert!(found.involved_object.uid.is_some(), "{found:?}");
        (
            found.type_.unwrap_or_default(),
            found.message.unwrap_or_default(),
        )
    }

    pub(crate) async fn annotate<K>(&self, api: Api<K>, name: &str, value: Option<&str>)
    where
        K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
    {
        let annotations: Value = json!({ "stillpoint.io/freeze": value });
        let patch = json!({ "metadata": { "annotations": annotations } });
        let patched = api
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await;
        patched.unwrap();
    }
}
