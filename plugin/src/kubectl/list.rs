//! `snapshots`: what there is of claims.

use std::{io::Write, time::SystemTime};

use serde_json::{Value, json};

use super::{
    Failure,
    cli::{self, Output},
    context::Context,
    failure::Exit,
    found::{self, Found},
    output::{self, Table},
    values,
};
use crate::kubernetes::Scope;

pub(super) async fn run(
    context: &Context,
    asked: &cli::Snapshots,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    let scope = context.scope(asked.all_namespaces).await?;
    let group = asked.place.snapshot_resource_group.as_deref();
    let mut found = context.snapshots(group).await?;
    found.retain(|one| is_asked_for(one, &scope, asked.pvc.as_deref()));
    found::sort(&mut found);
    match asked.output {
        Output::Table | Output::Wide if found.is_empty() => {
            eprintln!("No snapshots found.");
        }
        Output::Table => table(&scope, &found, false).print(out)?,
        Output::Wide => table(&scope, &found, true).print(out)?,
        Output::Json => output::json(out, &json!({ "items": items(&found) }))?,
        Output::Yaml => output::yaml(out, &[json!({ "items": items(&found) })])?,
        Output::Name => {
            for one in &found {
                writeln!(out, "{}", one.snapshot.id.name)?;
            }
        }
    }
    Ok(Exit::Done)
}

fn is_asked_for(one: &Found, scope: &Scope, claim: Option<&str>) -> bool {
    let Some(home) = &one.home else {
        // Those of Velero's backups, and what a killed process left, tell of no claim.
        return *scope == Scope::All && claim.is_none() && one.marks.hold.is_some();
    };
    let here = match scope {
        Scope::All => true,
        Scope::Namespace(namespace) => home.namespace == *namespace,
    };
    here && claim.is_none_or(|claim| home.claim == claim)
}

fn table(scope: &Scope, found: &[Found], wide: bool) -> Table {
    let mut headings = vec!["NAME", "PVC", "SIZE", "ZONE", "CONSISTENCY", "STATE", "AGE"];
    if *scope == Scope::All {
        headings.insert(1, "NAMESPACE");
    }
    if wide {
        headings.extend(["FROZEN-MS", "RESOURCE-GROUP", "DISK", "BACKUP", "REASON"]);
    }
    let now = SystemTime::now();
    let mut table = Table::new(&headings);
    for one in found {
        let home = one.home.clone().unwrap_or_default();
        let worth = one.marks.worth.as_ref();
        let size = one.snapshot.gibibytes.map(|size| format!("{size}Gi"));
        let age = one.age(now).map(values::ago);
        let mut row = vec![
            one.snapshot.id.name.clone(),
            home.claim,
            size.unwrap_or_default(),
            home.zone.map(|zone| zone.to_string()).unwrap_or_default(),
            worth
                .map(|worth| worth.consistency.to_string())
                .unwrap_or_default(),
            one.state(),
            age.unwrap_or_default(),
        ];
        if *scope == Scope::All {
            row.insert(1, home.namespace);
        }
        if wide {
            let disk = one.snapshot.source.as_ref().map(|disk| disk.name.clone());
            row.extend([
                worth
                    .map(|worth| worth.frozen.as_millis().to_string())
                    .unwrap_or_default(),
                one.snapshot.id.group.name.clone(),
                disk.unwrap_or_default(),
                one.backup().unwrap_or_default().to_owned(),
                worth.map(|worth| worth.reason.clone()).unwrap_or_default(),
            ]);
        }
        table.row(row);
    }
    table
}

fn items(found: &[Found]) -> Vec<Value> {
    let item = |one: &Found| {
        let worth = one.marks.worth.as_ref();
        let created = one
            .snapshot
            .created
            .and_then(|at| jiff::Timestamp::try_from(at).ok());
        json!({
            "name": one.snapshot.id.name,
            "id": one.snapshot.id.to_string(),
            "location": one.snapshot.location,
            "created": created.map(|at| format!("{at:.0}")),
            "state": one.state(),
            "sizeGiB": one.snapshot.gibibytes,
            "disk": one.snapshot.source.as_ref().map(ToString::to_string),
            "backup": one.backup(),
            "consistency": worth.map(|worth| worth.consistency.to_string()),
            "reason": worth.map(|worth| worth.reason.clone()),
            "frozenMilliseconds": worth.map(|worth| worth.frozen.as_millis()),
            "claim": one.home.as_ref().map(|home| json!({
                "cluster": home.cluster,
                "namespace": home.namespace,
                "name": home.claim,
                "persistentVolume": home.volume,
                "storageClass": home.storage_class,
                "capacity": home.capacity,
                "accessModes": home.access_modes,
                "volumeMode": if home.block { "Block" } else { "Filesystem" },
                "filesystem": home.filesystem,
                "zone": home.zone.as_ref().map(ToString::to_string),
                "labels": home.labels,
            })),
        })
    };
    found.iter().map(item).collect()
}
