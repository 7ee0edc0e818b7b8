//! The parts of a cluster and how each is run.

use std::{ffi::OsString, net::SocketAddr, path::PathBuf};

use anyhow::Result;
use serde_json::json;
use tempfile::TempDir;

use crate::{audit, credentials::Credentials, process::Process, scratch::Port};

/// How much of a cluster to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parts {
    /// The API alone, etcd and kube-apiserver: no controller reacts to what is written.
    Api,
    /// All of it: controllers act, pods are scheduled onto nodes and run there (in name: kwok's kubelets start nothing).
    All,
}

/// One program of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// etcd
    Etcd,
    /// kube-apiserver
    ApiServer,
    /// kube-controller-manager
    ControllerManager,
    /// kube-scheduler
    Scheduler,
    /// kwok: the kubelet of all nodes. Commands that are exec'ed in a pod run on this machine.
    Kwok,
}

/// What the parts of one cluster share.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) port: Port,
    pub(crate) credentials: Credentials,
    pub(crate) directory: TempDir,
}

impl Parts {
    pub(crate) fn all(self) -> &'static [Part] {
        use Part::{ApiServer, ControllerManager, Etcd, Kwok, Scheduler};
        match self {
            Self::Api => &[Etcd, ApiServer],
            Self::All => &[Etcd, ApiServer, ControllerManager, Scheduler, Kwok],
        }
    }
}

impl Part {
    pub(crate) fn program(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
            Self::Scheduler => "kube-scheduler",
            Self::Kwok => "kwok",
        }
    }

    /// Where it listens.
    pub(crate) fn address(self, port: &Port) -> SocketAddr {
        port.on(match self {
            Self::ApiServer => 1,
            Self::Kwok => 2,
            Self::Etcd => 3,
            Self::ControllerManager => 4,
            Self::Scheduler => 5,
        })
    }

    pub(crate) fn process(self, program: PathBuf, place: &Place) -> Result<Process> {
        let directory = place.directory.path();
        let flags = match self {
            Self::Etcd => etcd(place),
            Self::ApiServer => {
                std::fs::write(directory.join(audit::POLICY), audit::policy().to_string())?;
                api_server(place)
            }
            Self::ControllerManager => controller_manager(place),
            Self::Scheduler => scheduler(place),
            Self::Kwok => {
                std::fs::write(directory.join("kwok.json"), kwok_config())?;
                kwok(place, program.with_file_name("stages.yaml"))
            }
        };
        let flags = flags.into_iter().map(|(name, value)| {
            let mut flag = OsString::from(format!("--{name}="));
            flag.push(value);
            flag
        });
        Ok(Process::new(self.program(), directory, program).arguments(flags))
    }
}

type Flags = Vec<(&'static str, OsString)>;

fn etcd(place: &Place) -> Flags {
    let clients = format!("http://{}", Part::Etcd.address(&place.port));
    // Where it would listen for other members.
    let peers = format!("http://{}", place.port.on(6));
    vec![
        ("data-dir", place.directory.path().join("etcd").into()),
        ("unsafe-no-fsync", "true".into()),
        ("listen-client-urls", clients.clone().into()),
        ("advertise-client-urls", clients.into()),
        ("listen-peer-urls", peers.clone().into()),
        ("initial-advertise-peer-urls", peers.clone().into()),
        ("initial-cluster", format!("default={peers}").into()),
    ]
}

fn api_server(place: &Place) -> Flags {
    let files = &place.credentials;
    let directory = place.directory.path();
    let address = Part::ApiServer.address(&place.port);
    let etcd = format!("http://{}", Part::Etcd.address(&place.port));
    vec![
        ("etcd-servers", etcd.into()),
        ("bind-address", address.ip().to_string().into()),
        ("secure-port", address.port().to_string().into()),
        ("permit-port-sharing", "true".into()),
        // Else it looks for a route, which a network namespace may lack.
        ("advertise-address", address.ip().to_string().into()),
        // The addresses of nodes are no names in a DNS.
        ("kubelet-preferred-address-types", "InternalIP".into()),
        ("endpoint-reconciler-type", "none".into()),
        ("service-cluster-ip-range", "10.0.0.0/24".into()),
        ("tls-cert-file", files.certificate().into()),
        ("tls-private-key-file", files.key().into()),
        ("authorization-mode", "RBAC".into()),
        ("token-auth-file", files.tokens().into()),
        (
            "service-account-issuer",
            "https://kubernetes.default.svc".into(),
        ),
        (
            "service-account-signing-key-file",
            files.account_key().into(),
        ),
        (
            "service-account-key-file",
            files.account_public_key().into(),
        ),
        ("allow-privileged", "true".into()),
        ("audit-policy-file", directory.join(audit::POLICY).into()),
        ("audit-log-path", directory.join(audit::LOG).into()),
        ("profiling", "false".into()),
    ]
}

fn controller_manager(place: &Place) -> Flags {
    let files = &place.credentials;
    let mut flags = controller(Part::ControllerManager, place);
    flags.extend([
        ("root-ca-file", files.ca().into()),
        (
            "service-account-private-key-file",
            files.account_key().into(),
        ),
        // A claim that names its volume waits for this, else 15 s.
        ("pvclaimbinder-sync-period", "1s".into()),
        ("node-monitor-period", "1s".into()),
    ]);
    flags
}

fn scheduler(place: &Place) -> Flags {
    controller(Part::Scheduler, place)
}

/// What controller manager and scheduler have in common.
fn controller(part: Part, place: &Place) -> Flags {
    let files = &place.credentials;
    let address = part.address(&place.port);
    vec![
        ("kubeconfig", files.kubeconfig().into()),
        ("leader-elect", "false".into()),
        ("bind-address", address.ip().to_string().into()),
        ("secure-port", address.port().to_string().into()),
        ("tls-cert-file", files.certificate().into()),
        ("tls-private-key-file", files.key().into()),
        ("authentication-skip-lookup", "true".into()),
        ("profiling", "false".into()),
    ]
}

fn kwok(place: &Place, stages: PathBuf) -> Flags {
    let files = &place.credentials;
    let address = Part::Kwok.address(&place.port);
    vec![
        ("kubeconfig", files.kubeconfig().into()),
        ("config", place.directory.path().join("kwok.json").into()),
        ("config", stages.into()),
        ("manage-all-nodes", "true".into()),
        ("node-ip", address.ip().to_string().into()),
        ("node-port", address.port().to_string().into()),
        ("server-address", address.to_string().into()),
        ("tls-cert-file", files.certificate().into()),
        ("tls-private-key-file", files.key().into()),
    ]
}

/// Options left out would be 0, which kwok refuses; without ClusterExec it refuses to run commands.
fn kwok_config() -> String {
    let options = json!({
        "apiVersion": "config.kwok.x-k8s.io/v1alpha1",
        "kind": "KwokConfiguration",
        "options": {
            "cidr": "10.1.0.0/16",
            "enableDebuggingHandlers": true,
            "enablePodsOnNodeSyncListPager": false,
            "enablePodsOnNodeSyncStreamWatch": true,
            "nodeLeaseDurationSeconds": 40,
            "nodeLeaseParallelism": 4,
            "nodePlayStageParallelism": 4,
            "podPlayStageParallelism": 4,
            "podsOnNodeSyncParallelism": 4,
        },
    });
    let path = std::env::var("PATH").unwrap_or_default();
    let exec = json!({
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "ClusterExec",
        "metadata": { "name": "on-this-machine" },
        "spec": { "execs": [
            { "local": { "workDir": "/", "envs": [{ "name": "PATH", "value": path }] } },
        ] },
    });
    format!("{options}\n---\n{exec}\n")
}
