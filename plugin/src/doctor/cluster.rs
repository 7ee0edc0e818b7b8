//! Kubernetes and the agents.

use std::{collections::BTreeSet, path::Path};

use super::{compare_clock, report::Report};
use crate::{
    agent::{AgentView, Directory as _, Mounted, NodeAgents, UnixAgent},
    kubernetes::{Attached, View},
    model::VolumeId,
};

/// The agents of the nodes.
pub(super) async fn examine(report: &mut Report, view: &std::sync::Arc<View>) {
    match view.server().await {
        Ok((version, time)) => {
            report.good("Kubernetes", format!("{version} answers"));
            if let Some(time) = time {
                compare_clock(report, "the API server", time);
            }
        }
        Err(reason) => {
            let remedy =
                "run this in Velero's pod, or name a kubeconfig with --kubeconfig or KUBECONFIG";
            report.wrong("Kubernetes", reason, remedy);
            return;
        }
    }
    let Ok((account, namespace)) = view.place().await else {
        return;
    };
    rights(report, view).await;
    match view.token().await {
        Ok(_) => report.good("token", format!("of {account}, for the agents")),
        Err(reason) => {
            report.wrong("token", reason, "");
            return;
        }
    }
    let attached = match view.attached().await {
        Ok(attached) => attached,
        Err(reason) => {
            let remedy = "grant Velero's account what is missing above";
            report.wrong("volumes", reason, remedy);
            Vec::new()
        }
    };
    let announced = view.announced().await;
    let needed = attached.iter().flat_map(|one| &one.nodes).cloned();
    let mut nodes: BTreeSet<String> = needed.collect();
    match announced {
        Ok(names) if names.is_empty() => report.wrong(
            "agents",
            format!("none has announced itself in namespace {namespace}"),
            "install the DaemonSet; if it is in another namespace, set STILLPOINT_NAMESPACE in Velero's environment",
        ),
        Ok(names) => nodes.extend(names),
        // Those that are needed are asked all the same.
        Err(_) => {}
    }
    let agents = NodeAgents::new(view.clone());
    for node in nodes {
        match agents.look(&node).await {
            Ok(seen) => node_is_seen(report, &node, &seen, &attached),
            Err(reason) => report.wrong("agents", reason, &remedy_of(&account.to_string())),
        }
    }
}

fn remedy_of(account: &str) -> String {
    format!(
        "see that a pod of the DaemonSet runs there and is ready (`stillpoint-agent doctor` in it tells more), that no \
         NetworkPolicy is between, and that its STILLPOINT_ACCEPT lists {account}"
    )
}

/// One agent on this host.
pub(super) async fn examine_one(report: &mut Report, socket: &Path) {
    match UnixAgent::new(socket).look().await {
        Ok(seen) => node_is_seen(report, "this host", &seen, &[]),
        Err(reason) => report.wrong(
            "agents",
            format!("the agent at {}: {reason}", socket.display()),
            "start `stillpoint-agent serve`, or mend the location's `agent`",
        ),
    }
}

async fn rights(report: &mut Report, view: &View) {
    let rights = match view.rights().await {
        Ok(rights) => rights,
        Err(reason) => {
            report.warn("rights", reason, "");
            return;
        }
    };
    let count = rights.len();
    let mut missing = 0;
    for right in rights {
        let (what, purpose) = (right.what, right.purpose);
        match right.granted {
            Ok(true) => {}
            Ok(false) => {
                missing += 1;
                report.wrong(
                    "rights",
                    format!("Velero's account may not {what} ({purpose})"),
                    "grant it: the role is in the chart; Velero's usual cluster-admin has it",
                );
            }
            Err(reason) => {
                missing += 1;
                report.warn("rights", format!("{what} ({purpose}): {reason}"), "");
            }
        }
    }
    if missing == 0 {
        report.good("rights", format!("all {count} are granted"));
    }
}

fn node_is_seen(report: &mut Report, node: &str, seen: &AgentView, attached: &[Attached]) {
    let (version, count) = (&seen.version, seen.mounts.len());
    report.good(
        "agents",
        format!("{node}: version {version} answers and sees {count} volumes"),
    );
    for Mounted {
        volume, refusal, ..
    } in &seen.mounts
    {
        if let Some(reason) = refusal {
            report.warn(
                "volumes",
                format!("{node} could not freeze {volume} now: {reason}"),
                "its snapshots are crash-consistent while that is so",
            );
        }
    }
    let sees = |wanted: &VolumeId| seen.mounts.iter().any(|one| one.volume == *wanted);
    let here = attached
        .iter()
        .filter(|one| one.nodes.iter().any(|name| name == node));
    for one in here.filter(|one| !sees(&one.volume)) {
        report.wrong(
            "volumes",
            format!(
                "{} is attached to {node}, but its agent sees no mount of it",
                one.volume
            ),
            "the agent needs the kubelet's directory with mountPropagation HostToContainer, at --kubelet-root",
        );
    }
}
