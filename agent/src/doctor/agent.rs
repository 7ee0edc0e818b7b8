//! The agent that should be running here, and what it sees.

use stillpoint_proto::agent::{Mount, refusal::Reason};

use super::report::Report;
use crate::{cli::ServeOptions, client};

pub(super) async fn examine(report: &mut Report, options: &ServeOptions) {
    let status = match client::ask_status(&options.door.socket).await {
        Ok(status) => status,
        Err(error) => {
            report.wrong(
                "agent",
                error.to_string(),
                "see why it does not run: `kubectl logs` of the pod, its last line first",
            );
            return;
        }
    };
    let ours = env!("CARGO_PKG_VERSION");
    let (node, version) = (&status.node, &status.version);
    if version == ours {
        report.good("agent", format!("{version} answers for node {node}"));
    } else {
        report.warn(
            "agent",
            format!("{version} answers for node {node}, but this program is {ours}"),
            "finish the update of the DaemonSet",
        );
    }
    let (ready, refused): (Vec<&Mount>, Vec<&Mount>) = status
        .mounts
        .iter()
        .partition(|mount| mount.refusal.is_none());
    let unmounted = |mount: &&&Mount| {
        let reason = mount.refusal.as_ref().map(|refusal| refusal.reason);
        reason == Some(Reason::NotMounted.into())
    };
    let not_mounted = refused.iter().filter(unmounted).count();
    if not_mounted > 0 && not_mounted == status.mounts.len() {
        report.wrong(
            "volumes",
            format!("the kubelet knows {not_mounted}, and none is seen mounted"),
            "give the volumeMount of the kubelet's directory mountPropagation: HostToContainer",
        );
        return;
    }
    report.good(
        "volumes",
        match status.mounts.len() {
            0 => "none is on this node".to_owned(),
            count => format!("{} of {count} could be frozen now", ready.len()),
        },
    );
    for mount in refused {
        let refusal = mount.refusal.clone().unwrap_or_default();
        report.warn(
            "volumes",
            format!("{}: {}", mount.volume, refusal.message),
            remedy(refusal.reason()),
        );
    }
}

/// What to do where a filesystem cannot be frozen.
fn remedy(reason: Reason) -> &'static str {
    match reason {
        Reason::NotMounted => "nothing, if no pod uses it here",
        Reason::Block => "nothing: a raw block volume is the application's to quiesce",
        Reason::Protected => "give the data a volume of its own",
        Reason::Foreign => "end who froze it, or `fsfreeze --unfreeze` it",
        Reason::ReadOnly => "mount it writable; if it went read-only by itself, run fsck",
        Reason::Unhealthy => "stop its pods and run fsck",
        Reason::Unsupported => "use ext4, xfs or btrfs",
        Reason::Resting => "nothing: it passes",
        Reason::Kernel | Reason::Unspecified => "see the agent's log",
    }
}
