//! What the agent needs of Kubernetes.

use std::time::{Duration, SystemTime};

use k8s_openapi::{
    api::{
        authorization::v1::{
            ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
        },
        coordination::v1::Lease,
        core::v1::Node,
    },
    jiff::{Timestamp, fmt::rfc2822},
};
use kube::{Api, Client, api::PostParams, client::Body};
use tokio::{net::TcpStream, time::timeout};

use super::report::Report;
use crate::{
    cli::ServeOptions,
    kubernetes::{Kubernetes, described},
};

const PATIENCE: Duration = Duration::from_secs(5);
/// Plugins allow for so much between a Lease and their clock.
const SKEW: Duration = Duration::from_secs(2);
const REMEDY_RIGHTS: &str = "grant it to the agent's account: its roles are in the chart";

pub(super) async fn examine(report: &mut Report, options: &ServeOptions) {
    let remote = &options.remote;
    let kubernetes = match Kubernetes::configured(remote.kubeconfig.as_deref()).await {
        Ok(Some(kubernetes)) => kubernetes,
        Ok(None) => {
            report.warn(
                "Kubernetes",
                "none is configured, so only this host's programs can ask, by the unix socket",
                "run in a pod with a service account, or set --kubeconfig (STILLPOINT_KUBECONFIG)",
            );
            return;
        }
        Err(error) => {
            report.wrong(
                "Kubernetes",
                error.to_string(),
                "mend the account or the kubeconfig",
            );
            return;
        }
    };
    let Kubernetes { client, namespace } = kubernetes;
    let namespace = remote.namespace.clone().unwrap_or(namespace);
    if !answers(report, &client).await {
        return;
    }
    let lease = format!("stillpoint-agent-{}", options.node_name);
    rights(report, &client, &namespace, &lease).await;
    node(report, &client, &options.node_name).await;
    announced(report, &client, &namespace, &lease).await;
    let accepted: Vec<_> = remote.accept.iter().map(ToString::to_string).collect();
    report.good("callers", format!("accepted: {}", accepted.join(", ")));
}

async fn patiently<T>(answer: impl Future<Output = kube::Result<T>>) -> Result<T, String> {
    match timeout(PATIENCE, answer).await {
        Ok(answer) => answer.map_err(|error| described(&error)),
        Err(_) => Err(format!("no answer within {PATIENCE:?}")),
    }
}

async fn answers(report: &mut Report, client: &Client) -> bool {
    let request = http::Request::get("/version").body(Body::empty());
    let answer = match request {
        Ok(request) => patiently(client.send(request)).await,
        Err(error) => Err(error.to_string()),
    };
    let answer = match answer {
        Ok(answer) => answer,
        Err(reason) => {
            report.wrong(
                "Kubernetes",
                reason,
                "let the agent reach the API server: NetworkPolicy, DNS, its address in the kubeconfig",
            );
            return false;
        }
    };
    report.good("Kubernetes", "the API server answers");
    let date = answer.headers().get(http::header::DATE);
    let date = date.and_then(|date| rfc2822::parse(date.to_str().ok()?).ok());
    if let Some(date) = date {
        clock(report, date.timestamp().into(), SystemTime::now());
    }
    true
}

fn clock(report: &mut Report, theirs: SystemTime, ours: SystemTime) {
    // The header counts whole seconds.
    let allowed = SKEW + Duration::from_secs(1);
    let (skew, how) = match theirs.duration_since(ours) {
        Ok(behind) => (behind, "behind"),
        Err(ahead) => (ahead.duration(), "ahead of"),
    };
    if skew <= allowed {
        report.good("clock", "as the API server's");
    } else {
        report.wrong(
            "clock",
            format!("this node's is {} s {how} the API server's", skew.as_secs()),
            "have the node's clock synchronised (chrony, systemd-timesyncd): plugins take the Lease for stale else",
        );
    }
}

async fn rights(report: &mut Report, client: &Client, namespace: &str, lease: &str) {
    let mut missing = false;
    for (group, resource, verb, purpose) in [
        (
            "authentication.k8s.io",
            "tokenreviews",
            "create",
            "to know who asks",
        ),
        ("coordination.k8s.io", "leases", "create", "to be found"),
        ("coordination.k8s.io", "leases", "patch", "to be found"),
        (
            "coordination.k8s.io",
            "leases",
            "get",
            "to take its Lease away",
        ),
        (
            "coordination.k8s.io",
            "leases",
            "delete",
            "to take its Lease away",
        ),
    ] {
        let within = group == "coordination.k8s.io";
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(ResourceAttributes {
                    group: Some(group.to_owned()),
                    resource: Some(resource.to_owned()),
                    verb: Some(verb.to_owned()),
                    namespace: within.then(|| namespace.to_owned()),
                    name: (within && verb != "create").then(|| lease.to_owned()),
                    ..ResourceAttributes::default()
                }),
                non_resource_attributes: None,
            },
            ..SelfSubjectAccessReview::default()
        };
        let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
        let answer = patiently(reviews.create(&PostParams::default(), &review)).await;
        let allowed = answer.map(|review| review.status.is_some_and(|status| status.allowed));
        let place = if within {
            format!(" in {namespace}")
        } else {
            String::new()
        };
        match allowed {
            Ok(true) => {}
            Ok(false) => {
                missing = true;
                let message = format!("may not {verb} {resource}{place} ({purpose})");
                report.wrong("rights", message, REMEDY_RIGHTS);
            }
            Err(reason) => {
                missing = true;
                let message = format!("{verb} {resource}{place} ({purpose}): {reason}");
                report.warn("rights", message, REMEDY_RIGHTS);
            }
        }
    }
    if !missing {
        report.good("rights", "token reviews and its own Lease");
    }
}

async fn node(report: &mut Report, client: &Client, name: &str) {
    let nodes: Api<Node> = Api::all(client.clone());
    match patiently(nodes.get_metadata_opt(name)).await {
        Ok(Some(_)) => report.good("node", format!("{name} is known to Kubernetes")),
        Ok(None) => report.wrong(
            "node",
            format!("Kubernetes knows no node {name}, so plugins look for another name"),
            "set --node-name (STILLPOINT_NODE_NAME), in a pod by fieldRef spec.nodeName",
        ),
        Err(reason) => report.warn("node", format!("{name}: {reason}"), REMEDY_RIGHTS),
    }
}

async fn announced(report: &mut Report, client: &Client, namespace: &str, name: &str) {
    let leases: Api<Lease> = Api::namespaced(client.clone(), namespace);
    let lease = match patiently(leases.get_opt(name)).await {
        Ok(Some(lease)) => lease,
        Ok(None) => {
            report.wrong(
                "Lease",
                format!("there is no Lease {namespace}/{name}, by which plugins find this agent"),
                "see the agent's log for why it does not write one",
            );
            return;
        }
        Err(reason) => {
            report.wrong(
                "Lease",
                format!("{namespace}/{name}: {reason}"),
                REMEDY_RIGHTS,
            );
            return;
        }
    };
    let spec = lease.spec.unwrap_or_default();
    let good_for = spec.lease_duration_seconds.unwrap_or_default();
    let age = spec
        .renew_time
        .map(|time| Timestamp::now().duration_since(time.0).as_secs());
    match age {
        Some(age) if age <= i64::from(good_for) => {
            report.good(
                "Lease",
                format!("{namespace}/{name} was renewed {age} s ago"),
            );
        }
        _ => {
            let age = age.map_or("never".to_owned(), |age| format!("{age} s ago"));
            report.wrong(
                "Lease",
                format!("{namespace}/{name} was renewed {age}, and is good for {good_for} s"),
                "see the agent's log for why it is not renewed",
            );
            return;
        }
    }
    let annotations = lease.metadata.annotations.unwrap_or_default();
    let endpoint = annotations.get("stillpoint.io/endpoint");
    let Some(authority) = endpoint.and_then(|endpoint| endpoint.strip_prefix("https://")) else {
        report.wrong("endpoint", "the Lease names none", "restart the agent");
        return;
    };
    match timeout(PATIENCE, TcpStream::connect(authority)).await {
        Ok(Ok(_)) => report.good("endpoint", format!("{authority} takes connections")),
        failed => {
            let reason = match failed {
                Ok(Err(error)) => error.to_string(),
                _ => format!("no answer within {PATIENCE:?}"),
            };
            report.wrong(
                "endpoint",
                format!("{authority} cannot be connected to: {reason}"),
                "set --advertise (STILLPOINT_ADVERTISE) to the pod's IP, by fieldRef status.podIP",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_off_is_told_with_its_direction() {
        let now = SystemTime::now();
        let off = Duration::from_secs(40);
        for (theirs, expected) in [
            (now + Duration::from_secs(1), "ok     clock"),
            (now + off, "is 40 s behind the API server's"),
            (now - off, "is 40 s ahead of the API server's"),
        ] {
            let mut report = Report::default();
            clock(&mut report, theirs, now);
            assert!(report.text().contains(expected), "{}", report.text());
        }
    }
}
