//! `doctor` names what is wrong, and how to mend it.

use std::{fs, process::Command};

use serde_json::{Value, json};
use stillpoint_lab::{Action, Fault};
use stillpoint_system::programs;

use crate::scene::Scene;

/// What the plugin's `doctor` says.
struct Seen {
    code: Option<i32>,
    checks: Vec<Value>,
    text: String,
}

impl Seen {
    #[track_caller]
    fn assert_good(&self) {
        assert_eq!(self.code, Some(0), "{}", self.text);
        let wrong = self.checks.iter().any(|check| check["state"] == "wrong");
        assert!(!wrong && self.checks.len() > 10, "{}", self.text);
    }

    /// Something about `check` is wrong: it is said so, and what to do.
    #[track_caller]
    fn assert_wrong(&self, check: &str, says: &str, remedy: &str) {
        let what = format!("{check}, {says:?}, {remedy:?}");
        assert_eq!(self.code, Some(4), "{what}: {}", self.text);
        let found = self.checks.iter().any(|seen| {
            let told = format!("{} {}", seen["message"], seen["remedy"]);
            seen["check"] == check
                && seen["state"] == "wrong"
                && told.contains(says)
                && told.contains(remedy)
        });
        assert!(found, "{what}: {}", self.text);
    }
}

impl Scene {
    fn doctor(&self, more: &[(&str, &str)]) -> Seen {
        let mut config = self.rig.lab.location_config();
        let more = more.iter();
        config.extend(more.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        let file = self.rig.scratch().join("location.json");
        fs::write(&file, json!(config).to_string()).unwrap();
        let output = Command::new(programs::program(programs::PLUGIN).unwrap())
            .args(["doctor", "--json", "--config"])
            .arg(file)
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .env("SSL_CERT_FILE", &self.rig.lab.endpoints().ca_file)
            .output()
            .unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        let seen: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"));
        Seen {
            code: output.status.code(),
            checks: seen["checks"].as_array().unwrap().clone(),
            text,
        }
    }

    async fn grant(&self, rules: Value) {
        let role = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
            "metadata": { "namespace": "velero", "name": "stillpoint-plugin" },
            "rules": rules,
        });
        self.cluster.apply(role).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_named_with_its_remedy_and_nothing_else_is() {
    let Some(mut scene) = Scene::start().await else {
        return;
    };
    scene.rig.lab.clear_requests();
    scene.doctor(&[]).assert_good();
    let changed = scene.rig.lab.requests().into_iter().filter(|request| {
        request.method != "GET"
            && !request.path.contains("oauth2")
            && request.status.is_some_and(|status| status < 300)
    });
    // A DELETE of what is not there succeeds.
    let changed: Vec<_> = changed
        .filter(|request| !request.path.contains("stillpoint-doctor-"))
        .collect();
    assert!(changed.is_empty(), "{changed:?}");

    for (key, value, check, says, remedy) in [
        ("freeze", "always", "config", "`always`", "`spec.config`"),
        (
            "credentialsFile",
            "/nowhere",
            "credentials",
            "/nowhere",
            "credentials file",
        ),
        (
            "resourceGroup",
            "nowhere",
            "Microsoft.Compute/snapshots/read",
            "'nowhere' could not be found",
            "make the resource group",
        ),
        (
            "resourceManagerEndpoint",
            "https://127.0.0.1:1",
            "login",
            "127.0.0.1",
            "",
        ),
        (
            "agentServiceAccount",
            "velero/other",
            "token",
            "velero/other",
            "serviceaccounts/token",
        ),
        (
            "agent",
            "unix:/nowhere.sock",
            "agents",
            "/nowhere.sock",
            "stillpoint-agent serve",
        ),
    ] {
        // The login has no other address then.
        let seen = match key {
            "resourceManagerEndpoint" => {
                scene.doctor(&[(key, value), ("activeDirectoryAuthorityURI", value)])
            }
            _ => scene.doctor(&[(key, value)]),
        };
        seen.assert_wrong(check, says, remedy);
    }

    for action in [
        "Microsoft.Compute/disks/read",
        "Microsoft.Compute/disks/write",
        "Microsoft.Compute/disks/delete",
        "Microsoft.Compute/disks/beginGetAccess/action",
        "Microsoft.Compute/snapshots/read",
        "Microsoft.Compute/snapshots/write",
        "Microsoft.Compute/snapshots/delete",
    ] {
        scene.rig.lab.inject(Fault {
            method: None,
            path: "**".to_owned(),
            skip: 0,
            times: 0,
            action: Action::Deny {
                action: action.to_owned(),
            },
        });
        let seen = scene.doctor(&[("freeze", "off")]);
        seen.assert_wrong(action, action, "the role of deploy/azure");
        scene.rig.lab.clear_faults();
    }

    // Attached to the node, by the word of the cluster, and mounted nowhere.
    let mut pv = scene.volume.persistent_volume();
    pv["metadata"]["name"] = json!("pvc-elsewhere");
    pv["spec"]["claimRef"]["name"] = json!("elsewhere");
    let handle = scene.rig.lab.disk_id("elsewhere").to_string();
    pv["spec"]["csi"]["volumeHandle"] = json!(handle);
    scene.cluster.apply(pv).await.unwrap();
    let attachment = json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "VolumeAttachment",
        "metadata": { "name": "elsewhere-on-node-1" },
        "spec": {
            "attacher": "disk.csi.azure.com", "nodeName": "node-1",
            "source": { "persistentVolumeName": "pvc-elsewhere" },
        },
        "status": { "attached": true },
    });
    scene.cluster.apply(attachment).await.unwrap();
    let seen = scene.doctor(&[]);
    seen.assert_wrong("volumes", &handle, "HostToContainer");

    scene
        .grant(json!([
            { "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get"] },
            { "apiGroups": [""], "resources": ["serviceaccounts/token"], "verbs": ["create"] },
        ]))
        .await;
    let seen = scene.doctor(&[]);
    seen.assert_wrong("rights", "may not list backups in velero", "cluster-admin");

    scene.rig.stop_agent();
    let seen = scene.doctor(&[]);
    seen.assert_wrong(
        "agents",
        "no Lease velero/stillpoint-agent-node-1",
        "DaemonSet",
    );
    fs::remove_file(&scene.kubeconfig).unwrap();
    let seen = scene.doctor(&[]);
    seen.assert_wrong("Kubernetes", "kubeconfig", "--kubeconfig");
}
