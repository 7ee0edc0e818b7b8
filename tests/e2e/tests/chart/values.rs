//! Values: bad ones are refused by name, and each good one does what it says.

use std::fs;

use serde_json::{Value, json};
use stillpoint_cluster::{Helm, chart, missing, rendered};

/// The rendered object of that kind and name.
pub(crate) fn object<'a>(objects: &'a [Value], kind: &str, name: &str) -> Option<&'a Value> {
    objects
        .iter()
        .find(|one| one["kind"] == kind && one["metadata"]["name"] == name)
}

#[tokio::test]
async fn a_bad_value_is_refused_with_its_place() {
    if let Some(why) = missing() {
        eprintln!("SKIPPED: {why}");
        return;
    }
    for (values, place) in [
        (
            json!({ "image": { "registry": "" } }),
            "image.registry: where your images are",
        ),
        (
            json!({ "image": { "registry": "r.example.com/" } }),
            "/image/registry",
        ),
        (json!({ "gate": { "freez": "auto" } }), "'freez'"),
        (json!({ "gate": { "freeze": "always" } }), "/gate/freeze"),
        (
            json!({ "gate": { "freezeTimeout": "2m" } }),
            "/gate/freezeTimeout",
        ),
        (
            json!({ "gate": { "freezeTimeout": "61s" } }),
            "/gate/freezeTimeout",
        ),
        (json!({ "gate": { "drivers": [] } }), "/gate/drivers"),
        (
            json!({ "gate": { "drivers": ["a' in b"] } }),
            "/gate/drivers",
        ),
        (
            json!({ "gate": { "excludeNamespaces": ["a b"] } }),
            "/gate/excludeNamespaces",
        ),
        (
            json!({ "gate": { "timeoutSeconds": 31 } }),
            "/gate/timeoutSeconds",
        ),
        (
            json!({ "gate": { "failurePolicy": "ignore" } }),
            "/gate/failurePolicy",
        ),
        (
            json!({ "gate": { "azure": { "clientId": "me" } } }),
            "/gate/azure/clientId",
        ),
        (
            json!({ "gate": { "azure": { "cloud": "Azure" } } }),
            "/gate/azure/cloud",
        ),
        (
            json!({ "agent": { "accept": ["velero"] } }),
            "/agent/accept",
        ),
        (
            json!({ "agent": { "maxUnavailable": "0%" } }),
            "/agent/maxUnavailable",
        ),
        (
            json!({ "agent": { "kubeletRoot": "var/lib/kubelet" } }),
            "/agent/kubeletRoot",
        ),
        (
            json!({ "velero": { "serviceAccount": "" } }),
            "/velero/serviceAccount",
        ),
        (
            json!({ "metrics": { "podMonitor": { "interval": "30" } } }),
            "/metrics/podMonitor/interval",
        ),
    ] {
        let refused = rendered(&values).await;
        let error = format!("{:#}", refused.expect_err(&values.to_string()));
        assert!(error.contains(place), "{values}: {error}");
    }
}

#[tokio::test]
async fn values_reach_where_they_count() {
    if let Some(why) = missing() {
        eprintln!("SKIPPED: {why}");
        return;
    }
    let values = json!({
        "image": { "registry": "r.example.com", "tag": "2", "pullSecrets": [{ "name": "pull" }] },
        "velero": { "namespace": "backup", "serviceAccount": "server" },
        "agent": { "accept": ["ci/runner"], "image": "r.example.com/agent@sha256:00" },
        "gate": {
            "azure": { "clientId": "00000000-0000-0000-0000-000000000001", "secret": { "name": "azure" } },
            "certManager": { "enabled": true },
        },
        "metrics": { "podMonitor": { "enabled": true, "apiVersion": "azmonitoring.coreos.com/v1" } },
    });
    let objects = rendered(&values).await.unwrap();
    let find = |kind, name| object(&objects, kind, name).expect(name);
    let agent = &find("DaemonSet", "stillpoint-agent")["spec"]["template"]["spec"];
    let container = &agent["containers"][0];
    assert_eq!(container["image"], "r.example.com/agent@sha256:00");
    assert_eq!(agent["imagePullSecrets"][0]["name"], "pull");
    let accepted = json!({
        "name": "STILLPOINT_ACCEPT", "value": "backup/server,velero/stillpoint-gate,ci/runner",
    });
    let variables = container["env"].as_array().unwrap();
    assert!(variables.contains(&accepted), "{variables:?}");
    let askers = &find("NetworkPolicy", "stillpoint-agent")["spec"]["ingress"][0]["from"][0];
    let askers = &askers["namespaceSelector"]["matchExpressions"][0]["values"];
    assert_eq!(*askers, json!(["backup", "velero", "ci"]));

    let gate = find("Deployment", "stillpoint-gate");
    let pod = &gate["spec"]["template"];
    assert_eq!(
        pod["metadata"]["labels"]["azure.workload.identity/use"],
        "true"
    );
    assert_eq!(
        pod["spec"]["containers"][0]["image"],
        "r.example.com/stillpoint-gate:2"
    );
    let account = &find("ServiceAccount", "stillpoint-gate")["metadata"]["annotations"];
    assert_eq!(
        account["azure.workload.identity/client-id"],
        "00000000-0000-0000-0000-000000000001"
    );
    let monitor = find("PodMonitor", "stillpoint-agent");
    assert_eq!(monitor["apiVersion"], "azmonitoring.coreos.com/v1");
    // With a certificate of cert-manager the gate needs no right to write one.
    let issued = find("Certificate", "stillpoint-gate");
    assert_eq!(issued["spec"]["secretName"], "stillpoint-gate-certificate");
    for (kind, resource) in [
        ("Role", "secrets"),
        ("ClusterRole", "mutatingwebhookconfigurations"),
    ] {
        let rules = find(kind, "stillpoint-gate")["rules"].to_string();
        assert!(!rules.contains(resource), "{rules}");
    }

    // The plugin's rights are where Velero is, and to see the agents where those are.
    let binding = |namespace: &str| {
        let of = |one: &&Value| {
            one["kind"] == "RoleBinding" && one["metadata"]["namespace"] == namespace
        };
        let mut of = objects
            .iter()
            .filter(of)
            .flat_map(|one| one["subjects"].as_array());
        of.any(|subjects| {
            *subjects
                == [json!({ "kind": "ServiceAccount", "namespace": "backup", "name": "server" })]
        })
    };
    assert!(binding("backup") && binding("velero"));

    let nothing = json!({
        "velero": { "rbac": false }, "gate": { "enabled": false },
        "networkPolicy": { "enabled": false }, "admissionPolicy": { "enabled": false },
    });
    let left = rendered(&nothing).await.unwrap();
    let of_agent = |one: &Value| one["metadata"]["name"] == "stillpoint-agent";
    assert!(left.iter().all(of_agent), "{left:?}");
    assert_eq!(
        left.len(),
        6,
        "account, two roles with bindings, DaemonSet: {left:?}"
    );
}

#[tokio::test]
async fn every_dashboard_and_every_file_of_rules_is_installed() {
    if let Some(why) = missing() {
        eprintln!("SKIPPED: {why}");
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let copy = home.path().join("chart");
    let copied = std::process::Command::new("cp")
        .arg("-r")
        .arg(chart())
        .arg(&copy)
        .status();
    assert!(copied.unwrap().success());
    for directory in ["dashboards", "rules"] {
        fs::create_dir_all(copy.join(directory)).unwrap();
    }
    let dashboard = r#"{"title": "{{ not ours }}", "panels": []}"#;
    fs::write(copy.join("dashboards/more.json"), dashboard).unwrap();
    let rules = "# Read by promtool too.\ngroups:\n- name: more\n  rules:\n  - alert: More\n    expr: up == 0\n    annotations: {summary: '{{ $labels.node }}'}\n";
    fs::write(copy.join("rules/more.yaml"), rules).unwrap();
    let helm = Helm::new(home.path(), None).await.unwrap();
    let arguments = [
        "template",
        "stillpoint",
        copy.to_str().unwrap(),
        "--values=-",
    ];
    let values = json!({
        "image": { "registry": "r.example.com" },
        "metrics": { "rules": { "enabled": true, "labels": { "team": "storage" } }, "dashboards": { "enabled": true } },
    });
    let manifests = helm.run(arguments, Some(&values)).await.unwrap();
    let objects: Vec<Value> = serde_saphyr::from_multiple(&manifests).unwrap();
    let find = |kind, name| object(&objects, kind, name).expect(name);
    let made = find("ConfigMap", "stillpoint-dashboard-more");
    assert_eq!(made["data"]["more.json"], dashboard);
    assert_eq!(made["metadata"]["labels"]["grafana_dashboard"], "1");
    let made = find("PrometheusRule", "stillpoint-more");
    assert_eq!(made["metadata"]["labels"]["team"], "storage");
    let rule = &made["spec"]["groups"][0]["rules"][0];
    assert_eq!(rule["annotations"]["summary"], "{{ $labels.node }}");
    for (directory, kind) in [("dashboards", "ConfigMap"), ("rules", "PrometheusRule")] {
        let files = fs::read_dir(copy.join(directory)).unwrap().count();
        let made = objects.iter().filter(|one| one["kind"] == kind).count();
        assert_eq!(made, files, "{directory}");
    }
}
