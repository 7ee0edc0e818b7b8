//! What is backed up, and the hooks of its pods.

use std::fmt;

use anyhow::Result;
use k8s_openapi::api::core::v1 as core;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde::Serialize;
use serde_json::{Value, json};
use stillpoint_system::table::progress;

use super::Size;
use crate::{
    World,
    application::{Pod, Volume},
};

/// One kind of backup.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Case {
    pub(super) pods: usize,
    /// A pod.
    pub(super) volumes: usize,
    /// Item-block workers of Velero's.
    pub(super) workers: usize,
    pub(super) repeats: usize,
}

/// The pods of a case; cases that differ in their workers share them.
pub(super) struct Application {
    pub(super) namespace: String,
    pub(super) pods: Vec<Pod>,
    volumes: usize,
}

/// The cases, those of one Velero after the other.
pub(super) fn all(size: Size) -> Vec<Case> {
    let of = |pods, volumes, workers, repeats| Case {
        pods,
        volumes,
        workers,
        repeats,
    };
    let mut cases = vec![of(1, 1, 1, size.repeats), of(1, 3, 1, size.repeats)];
    if size.pods > 0 {
        cases.push(of(size.pods, 1, 1, 1));
        if size.workers > 0 {
            cases.push(of(size.pods, 1, size.workers, 1));
        }
    }
    cases
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |count: usize| if count == 1 { "" } else { "s" };
        let (pods, volumes) = (self.pods, self.volumes);
        write!(
            f,
            "{pods} pod{} x {volumes} volume{}",
            plural(pods),
            plural(volumes)
        )?;
        match self.workers {
            1 => Ok(()),
            workers => write!(f, ", {workers} workers"),
        }
    }
}

impl Application {
    /// Makes those of all cases.
    pub(super) async fn all(world: &World, cases: &[Case]) -> Result<Vec<Self>> {
        let mut made: Vec<Self> = Vec::new();
        for case in cases {
            if made.iter().any(|application| application.is_of(case)) {
                continue;
            }
            progress(format!("{case} …"));
            let namespace = format!("app-{}x{}", case.pods, case.volumes);
            world.deploy(&namespace, case.pods, case.volumes).await?;
            let pods = world.deployed(&namespace, case.pods, case.volumes).await?;
            made.push(Self {
                namespace,
                pods,
                volumes: case.volumes,
            });
        }
        Ok(made)
    }

    pub(super) fn is_of(&self, case: &Case) -> bool {
        self.pods.len() == case.pods && self.volumes == case.volumes
    }

    pub(super) fn volumes(&self) -> impl Iterator<Item = &Volume> {
        self.pods.iter().flat_map(|pod| &pod.volumes)
    }

    /// Gives all pods hooks that freeze their volumes before the backup of the pod and thaw them after, or takes them
    /// away. kwok runs their commands on this machine.
    pub(super) async fn hooks(&self, world: &World, wanted: bool) -> Result<()> {
        let pods: Api<core::Pod> = Api::namespaced(world.client(), &self.namespace);
        for pod in &self.pods {
            let mut annotations = serde_json::Map::new();
            for (hook, command) in [("pre", freeze(pod)), ("post", thaw(pod))] {
                let command = wanted.then(|| json!(["/bin/sh", "-c", command]).to_string());
                let key = format!("{hook}.hook.backup.velero.io/command");
                annotations.insert(key, command.map_or(Value::Null, Value::String));
            }
            let patch = Patch::Merge(json!({ "metadata": { "annotations": annotations } }));
            pods.patch(&pod.name, &PatchParams::default(), &patch)
                .await?;
        }
        Ok(())
    }
}

fn freeze(pod: &Pod) -> String {
    fsfreeze("--freeze", pod).join(" && ")
}

/// All of them, whatever becomes of the first.
fn thaw(pod: &Pod) -> String {
    fsfreeze("--unfreeze", pod).join("; ")
}

fn fsfreeze(how: &str, pod: &Pod) -> Vec<String> {
    let volumes = pod.volumes.iter();
    volumes
        .map(|volume| format!("fsfreeze {how} '{}'", volume.path.display()))
        .collect()
}
