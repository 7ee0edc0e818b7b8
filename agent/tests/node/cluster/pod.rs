//! The agent as in a pod: it knows the cluster by what is mounted and set there.

use std::fs;

use serde_json::Value;

use super::*;
use crate::harness::eventually;

/// Mounts a service account where pods have it, for this process and its children alone.
const IN_A_POD: &str = r#"
mount -t tmpfs tmpfs /run && cd /var/run && mkdir -p secrets/kubernetes.io/serviceaccount &&
cp "$ACCOUNT"/* secrets/kubernetes.io/serviceaccount/ && exec "$@""#;

#[tokio::test(flavor = "multi_thread")]
async fn in_a_pod_the_service_account_is_used_and_its_namespace_has_the_lease() {
    let Some(mut site) = Site::start().await else {
        return;
    };
    let before = site.lease(None).await;
    assert!(site.node.terminate().success());

    let kubeconfig = fs::read(&site.kubeconfig).unwrap();
    let kubeconfig: Value = serde_json::from_slice(&kubeconfig).unwrap();
    let text = |pointer: &str| kubeconfig.pointer(pointer).unwrap().as_str().unwrap();
    let server = text("/clusters/0/cluster/server");
    let server: SocketAddr = server.strip_prefix("https://").unwrap().parse().unwrap();
    let directory = site.node.directory.path().to_owned();
    let account = directory.join("account");
    fs::create_dir(&account).unwrap();
    let ca = text("/clusters/0/cluster/certificate-authority");
    fs::copy(ca, account.join("ca.crt")).unwrap();
    fs::write(account.join("token"), text("/users/0/user/token")).unwrap();
    fs::write(account.join("namespace"), "velero").unwrap();

    // By default it is called as the pod is, which no node is.
    site.node.start_with(|command| {
        command.arg("--kubeconfig").arg(&site.kubeconfig);
        command.args(["--listen", "127.0.0.1:0", "--node-name", "agent-x7v2p"]);
    });
    eventually("the wrong name is told", || {
        site.node.log().contains("no such node") && site.node.log().contains("agent-x7v2p")
    });
    assert!(site.node.terminate().success());

    site.node.start_with(|command| {
        *command = in_a_pod(command);
        command
            .args(["--listen", "[::]:0", "--advertise", "127.0.0.1"])
            .args(["--probes", "127.0.0.1:0"])
            .env("ACCOUNT", account)
            .env("STILLPOINT_NODE_NAME", "node-1")
            .env("KUBERNETES_SERVICE_HOST", server.ip().to_string())
            .env("KUBERNETES_SERVICE_PORT", server.port().to_string());
    });
    let lease = site.lease(Some(&before)).await;
    let token = site.token("velero", AUDIENCE).await;
    assert_eq!(site.status(&lease, &token).await.unwrap(), "node-1");
    let forged = token.replace('.', ".e");
    assert!(site.status(&lease, &forged).await.is_err());
}

fn in_a_pod(command: &Command) -> Command {
    let mut pod = Command::new("unshare");
    pod.args([
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        IN_A_POD,
        "sh",
    ])
    .arg(command.get_program())
    .args(command.get_args());
    pod
}
