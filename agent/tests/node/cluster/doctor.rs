//! `doctor` names what is wrong, and how to mend it.

use std::process::Command;

use serde_json::{Value, json};

use super::*;

/// What it says: its exit code, and its checks.
fn doctor(site: &Site, change: impl FnOnce(&mut Command)) -> (Option<i32>, Vec<Value>, String) {
    let node = &site.node;
    let mut command = node.command("doctor");
    command
        .args(["--json", "--node-name", "node-1"])
        .arg("--kubelet-root")
        .arg(node.kubelet())
        .arg("--journal")
        .arg(node.journal())
        .arg("--kubeconfig")
        .arg(&site.kubeconfig);
    change(&mut command);
    let output = command.output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    let seen: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"));
    let checks = seen["checks"].as_array().unwrap().clone();
    (output.status.code(), checks, text)
}

#[track_caller]
fn assert_wrong(
    (code, checks, text): (Option<i32>, Vec<Value>, String),
    check: &str,
    says: &str,
    remedy: &str,
) {
    let what = format!("{check}, {says:?}, {remedy:?}");
    assert_eq!(code, Some(6), "{what}: {text}");
    let found = checks.iter().any(|seen| {
        seen["check"] == check
            && seen["state"] == "wrong"
            && seen["message"].as_str().unwrap().contains(says)
            && seen["remedy"].as_str().unwrap().contains(remedy)
    });
    assert!(found, "{what}: {text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_on_a_node_is_named_with_its_remedy() {
    let Some(mut site) = Site::start().await else {
        return;
    };
    site.lease(None).await;
    let (code, checks, text) = doctor(&site, |_| {});
    assert_eq!(code, Some(0), "{text}");
    for check in [
        "kernel",
        "privileges",
        "agent",
        "volumes",
        "rights",
        "Lease",
        "endpoint",
        "clock",
    ] {
        let good = |seen: &Value| seen["check"] == check && seen["state"] == "ok";
        assert!(checks.iter().any(good), "{check}: {text}");
    }

    type Change = fn(&mut Command);
    let cases: [(Change, &str, &str, &str); 5] = [
        (
            |command| {
                command.args(["--kubelet-root", "/nowhere"]);
            },
            "kubelet",
            "/nowhere",
            "--kubelet-root",
        ),
        (
            |command| {
                command.args(["--journal", "/nowhere"]);
            },
            "journal",
            "/nowhere",
            "--journal",
        ),
        (
            |command| {
                command.args(["--socket", "/nowhere.sock"]);
            },
            "agent",
            "/nowhere.sock",
            "kubectl logs",
        ),
        (
            |command| {
                command.args(["--node-name", "node-2"]);
            },
            "node",
            "no node node-2",
            "spec.nodeName",
        ),
        (
            |command| {
                command.args(["--kubeconfig", "/nowhere"]);
            },
            "Kubernetes",
            "/nowhere",
            "kubeconfig",
        ),
    ];
    for (change, check, says, remedy) in cases {
        // An option that is given twice is refused, so those of the site are taken out.
        let seen = doctor(&site, |command| {
            let mut other = Command::new("true");
            change(&mut other);
            let given: Vec<_> = other.get_args().map(ToOwned::to_owned).collect();
            let before: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
            let program = command.get_program().to_owned();
            *command = Command::new(program);
            let mut rest = before.into_iter();
            while let Some(argument) = rest.next() {
                if argument == given[0] {
                    rest.next();
                } else {
                    command.arg(argument);
                }
            }
            command.args(given);
        });
        assert_wrong(seen, check, says, remedy);
    }

    let without = |changed: &str, capability: &str| {
        let seen = doctor(&site, |command| {
            let mut confined = Command::new("setpriv");
            confined.args([
                "--bounding-set",
                &format!("-{capability}"),
                "--inh-caps",
                &format!("-{capability}"),
            ]);
            confined.arg(command.get_program()).args(command.get_args());
            *command = confined;
        });
        assert_wrong(seen, "privileges", changed, "securityContext");
    };
    without("CAP_SYS_ADMIN", "sys_admin");
    without("CAP_DAC_READ_SEARCH", "dac_read_search");

    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": { "name": "stillpoint-agent" },
        "rules": [{ "apiGroups": [""], "resources": ["nodes"], "verbs": ["get"] }],
    });
    site.cluster.apply(role).await.unwrap();
    let seen = doctor(&site, |_| {});
    assert_wrong(seen, "rights", "may not create tokenreviews", "chart");

    assert!(site.node.terminate().success());
    let seen = doctor(&site, |_| {});
    assert_wrong(
        seen,
        "Lease",
        "no Lease velero/stillpoint-agent-node-1",
        "log",
    );
}
