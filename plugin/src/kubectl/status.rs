//! `status`: agents, and what would be frozen, and what not and why.

use std::{collections::BTreeMap, io::Write};

use futures::{StreamExt as _, stream};
use serde_json::{Value, json};

use super::{
    Failure,
    cli::{self, Output},
    context::Context,
    failure::Exit,
    output::{self, Table},
};
use crate::{
    agent::{Directory as _, Mounted},
    config::FreezeMode,
    kubernetes::Scope,
    model::{Consistency, VolumeId, Zone},
    ports::Owners as _,
    tags::Home,
};

/// Each is a connection through the API server.
const AT_ONCE: usize = 16;

type Mounts = BTreeMap<String, Result<Vec<Mounted>, String>>;

struct Volume {
    home: Home,
    nodes: Vec<String>,
    mode: FreezeMode,
    expected: (Consistency, String),
}

pub(super) async fn run(
    context: &Context,
    asked: &cli::Status,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    let by_hand = context.by_hand().await?;
    let scope = context.scope(asked.all_namespaces).await?;
    let view = context.view();
    let agents = context.agents(&view);
    let nodes = by_hand.nodes().await.map_err(Failure::Kubernetes)?;
    let mounts = stream::iter(&nodes)
        .map(async |(node, _)| {
            let seen = agents.look(node).await;
            (node.clone(), seen.map(|seen| seen.mounts))
        })
        .buffer_unordered(AT_ONCE);
    let mounts: Mounts = mounts.collect().await;
    let claims = by_hand.claims(&scope, &[], None).await;
    let mut volumes = Vec::new();
    for claim in claims.map_err(Failure::Kubernetes)? {
        let Ok(disk) = claim.disk else { continue };
        let id = VolumeId::from(disk);
        let mode = FreezeMode::Auto.overridden_by(view.wish(&id).await);
        let (names, expected) = match view.nodes(&id).await {
            Ok(found) => {
                let expected = expected(&id, mode, &found.names, &mounts);
                (found.names, expected)
            }
            Err(reason) => (Vec::new(), (Consistency::Crash, reason)),
        };
        volumes.push(Volume {
            home: claim.home,
            nodes: names,
            mode,
            expected,
        });
    }
    match asked.output {
        Output::Table | Output::Wide => {
            agents_table(&nodes, &mounts).print(out)?;
            if !volumes.is_empty() {
                writeln!(out)?;
                volumes_table(&scope, &volumes).print(out)?;
            }
        }
        Output::Json => output::json(out, &document(&nodes, &mounts, &volumes))?,
        Output::Yaml => output::yaml(out, &[document(&nodes, &mounts, &volumes)])?,
        Output::Name => {
            for one in &volumes {
                writeln!(out, "{}/{}", one.home.namespace, one.home.claim)?;
            }
        }
    }
    Ok(Exit::Done)
}

/// What a snapshot would be worth now, and why.
fn expected(
    volume: &VolumeId,
    mode: FreezeMode,
    nodes: &[String],
    mounts: &Mounts,
) -> (Consistency, String) {
    if nodes.is_empty() {
        return (Consistency::Unmounted, "attached to no node".to_owned());
    }
    if mode == FreezeMode::Off {
        return (Consistency::Crash, "stillpoint.io/freeze is off".to_owned());
    }
    let mut filesystems = Vec::new();
    for node in nodes {
        let reason = match mounts.get(node) {
            Some(Ok(mounted)) => match mounted.iter().find(|one| one.volume == *volume) {
                Some(Mounted {
                    refusal: None,
                    filesystem,
                    ..
                }) => {
                    filesystems.push(filesystem.clone());
                    continue;
                }
                Some(Mounted {
                    refusal: Some(reason),
                    ..
                }) => reason.clone(),
                None => format!("not mounted on {node}, or a raw device there"),
            },
            Some(Err(reason)) => reason.clone(),
            None => format!("{node} is no node of the cluster"),
        };
        return (Consistency::Crash, reason);
    }
    filesystems.dedup();
    let on = nodes.join(" and ");
    (
        Consistency::Filesystem,
        format!("{} on {on} would be frozen", filesystems.join(", ")),
    )
}

fn agents_table(nodes: &[(String, Option<Zone>)], mounts: &Mounts) -> Table {
    let mut table = Table::new(&["NODE", "ZONE", "AGENT", "VOLUMES"]);
    for (node, zone) in nodes {
        let zone = zone.as_ref().map(ToString::to_string).unwrap_or_default();
        let (agent, volumes) = match mounts.get(node) {
            Some(Ok(mounted)) => ("ready".to_owned(), mounted.len().to_string()),
            Some(Err(reason)) => (reason.clone(), String::new()),
            None => (String::new(), String::new()),
        };
        table.row([node.clone(), zone, agent, volumes]);
    }
    table
}

fn volumes_table(scope: &Scope, volumes: &[Volume]) -> Table {
    let mut headings = vec!["PVC", "NODE", "FREEZE", "SNAPSHOT-NOW", "WHY"];
    if *scope == Scope::All {
        headings.insert(0, "NAMESPACE");
    }
    let mut table = Table::new(&headings);
    for one in volumes {
        let (consistency, reason) = &one.expected;
        let now = match (one.mode, consistency) {
            (FreezeMode::Required, Consistency::Crash) => "none".to_owned(),
            _ => consistency.to_string(),
        };
        let mut row = vec![
            one.home.claim.clone(),
            one.nodes.join(","),
            one.mode.to_string(),
            now,
            reason.clone(),
        ];
        if *scope == Scope::All {
            row.insert(0, one.home.namespace.clone());
        }
        table.row(row);
    }
    table
}

fn document(nodes: &[(String, Option<Zone>)], mounts: &Mounts, volumes: &[Volume]) -> Value {
    let node = |(name, zone): &(String, Option<Zone>)| {
        let seen = mounts.get(name);
        json!({
            "name": name,
            "zone": zone.as_ref().map(ToString::to_string),
            "agent": match seen {
                Some(Ok(_)) => "ready",
                Some(Err(_)) | None => "unusable",
            },
            "reason": seen.and_then(|seen| seen.as_ref().err()),
            "volumes": seen.and_then(|seen| seen.as_ref().ok()).map(Vec::len),
        })
    };
    let volume = |one: &Volume| {
        json!({
            "namespace": one.home.namespace,
            "pvc": one.home.claim,
            "nodes": one.nodes,
            "freeze": one.mode.to_string(),
            "snapshotNow": one.expected.0.to_string(),
            "reason": one.expected.1,
        })
    };
    json!({
        "nodes": nodes.iter().map(node).collect::<Vec<_>>(),
        "volumes": volumes.iter().map(volume).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::fake;

    #[test]
    fn what_would_become_of_a_volume_is_told_with_the_reason() {
        let id = VolumeId::from(fake::disk_id("data"));
        let mounted = |refusal: Option<&str>| {
            Ok(vec![Mounted {
                volume: id.clone(),
                filesystem: "ext4".into(),
                refusal: refusal.map(Into::into),
            }])
        };
        let mounts: Mounts = [
            ("good".to_owned(), mounted(None)),
            ("busy".to_owned(), mounted(Some("read-only"))),
            ("empty".to_owned(), Ok(Vec::new())),
            ("silent".to_owned(), Err("no Lease".to_owned())),
        ]
        .into();
        for (nodes, mode, consistency, reason) in [
            (
                &["good"][..],
                FreezeMode::Auto,
                Consistency::Filesystem,
                "ext4 on good",
            ),
            (&["good"], FreezeMode::Off, Consistency::Crash, "is off"),
            (
                &["good", "busy"],
                FreezeMode::Auto,
                Consistency::Crash,
                "read-only",
            ),
            (
                &["empty"],
                FreezeMode::Auto,
                Consistency::Crash,
                "not mounted",
            ),
            (
                &["silent"],
                FreezeMode::Required,
                Consistency::Crash,
                "no Lease",
            ),
            (&[], FreezeMode::Auto, Consistency::Unmounted, "no node"),
        ] {
            let nodes: Vec<String> = nodes.iter().map(|node| (*node).to_owned()).collect();
            let seen = expected(&id, mode, &nodes, &mounts);
            assert_eq!(seen.0, consistency, "{nodes:?}");
            assert!(seen.1.contains(reason), "{}", seen.1);
        }
    }
}
