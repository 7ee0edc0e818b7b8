//! The commands that the README begins with: Velero and helm take them, and make of them what it says.

use std::fs;

use serde_json::{Value, json};
use stillpoint_cluster::{Helm, chart, missing, velero};

use crate::values::object;

const README: &str = include_str!("../../../../README.md");
const IMAGE: &str = "registry.example.com/stillpoint/velero-plugin-stillpoint:0.1.0";

/// The words of the first command that begins so.
fn command(begin: &str) -> Vec<&'static str> {
    let from = README.find(begin).expect(begin);
    let mut words = Vec::new();
    for line in README[from..].lines() {
        let more = line.strip_suffix('\\');
        words.extend(more.unwrap_or(line).split_whitespace());
        if more.is_none() {
            break;
        }
    }
    words
}

fn objects(stream: &str) -> Vec<Value> {
    let objects: Vec<Value> = serde_saphyr::from_multiple(stream).unwrap();
    let lists = objects
        .into_iter()
        .flat_map(|object| match &object["items"] {
            Value::Array(items) => items.clone(),
            _ => vec![object],
        });
    lists.filter(|object| !object.is_null()).collect()
}

#[tokio::test]
async fn the_first_commands_install_what_they_say() {
    if let Some(why) = missing() {
        eprintln!("SKIPPED: {why}");
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let credentials = home.path().join("credentials-velero");
    fs::write(&credentials, "AZURE_SUBSCRIPTION_ID=s\n").unwrap();
    let mut words = command("velero install --provider");
    for word in &mut words {
        if *word == "credentials-velero" {
            *word = credentials.to_str().unwrap();
        }
    }
    // For workload identity.
    let from = README.find("--sa-annotations azure.workload").unwrap();
    let flags = README[from..].split('`').next().unwrap();
    words.extend(flags.split_whitespace());
    // It wants to know of a cluster, which it does not ask.
    let nowhere = home.path().join("kubeconfig");
    let cluster = json!({ "name": "none", "cluster": { "server": "https://127.0.0.1:1" } });
    let context = json!({ "name": "none", "context": { "cluster": "none", "user": "none" } });
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "clusters": [cluster], "contexts": [context],
        "users": [{ "name": "none", "user": {} }], "current-context": "none",
    });
    fs::write(&nowhere, config.to_string()).unwrap();
    words.extend(["--dry-run", "--output=yaml"]);
    words.extend(["--kubeconfig", nowhere.to_str().unwrap()]);
    let made = objects(&velero(&words[1..]).await.unwrap());
    let find = |kind, name| object(&made, kind, name).expect(name);
    let server = &find("Deployment", "velero")["spec"]["template"];
    assert_eq!(server["spec"]["initContainers"][0]["image"], IMAGE);
    assert_eq!(
        server["metadata"]["labels"]["azure.workload.identity/use"],
        "true"
    );
    let variables = server["spec"]["containers"][0]["env"].to_string();
    assert!(variables.contains("AZURE_CREDENTIALS_FILE"), "{variables}");
    let account = &find("ServiceAccount", "velero")["metadata"];
    assert_eq!(
        account["annotations"]["azure.workload.identity/client-id"],
        "$CLIENT"
    );
    let location = &find("BackupStorageLocation", "default")["spec"];
    assert_eq!(location["provider"], "stillpoint.io/azure");
    assert_eq!(
        location["config"],
        json!({ "storageAccount": "mybackups", "resourceGroup": "backups", "useAAD": "true" })
    );
    let location = &find("VolumeSnapshotLocation", "default")["spec"];
    assert_eq!(location["provider"], "stillpoint.io/azure");
    assert_eq!(location["config"], json!({ "resourceGroup": "backups" }));
    let namespace = &find("Namespace", "velero")["metadata"]["labels"];
    assert_eq!(
        namespace["pod-security.kubernetes.io/enforce"],
        "privileged"
    );

    let mut words = command("helm install stillpoint");
    assert_eq!(words[3], "deploy/chart");
    (words[1], words[3]) = ("template", chart().to_str().unwrap());
    let helm = Helm::new(home.path(), None).await.unwrap();
    let made = helm.run(words[1..].iter().copied(), None).await.unwrap();
    let made = objects(&made);
    let agent = object(&made, "DaemonSet", "stillpoint-agent").unwrap();
    assert_eq!(agent["metadata"]["namespace"], "velero");
    let image = &agent["spec"]["template"]["spec"]["containers"][0]["image"];
    assert_eq!(
        image,
        "registry.example.com/stillpoint/stillpoint-agent:0.1.0"
    );
}
