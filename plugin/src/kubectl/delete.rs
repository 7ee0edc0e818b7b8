//! `delete`: snapshots by name, or what is old.

use std::{io::Write, time::SystemTime};

use super::{
    Failure, cli,
    cli::DryRun,
    confirm::confirm,
    context::Context,
    failure::Exit,
    found::{Found, superfluous},
    plan::Refusal,
};
use crate::{kubernetes::Scope, ports::Azure as _};

pub(super) async fn run(
    context: &Context,
    asked: &cli::Delete,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    let go = match asked.older_than {
        Some(age) => old(context, asked, age).await?,
        None => named(context, asked).await?,
    };
    if go.is_empty() {
        eprintln!("No snapshots to delete.");
        return Ok(Exit::Done);
    }
    if asked.dry_run != DryRun::None {
        for one in &go {
            writeln!(
                out,
                "snapshot {} would be deleted (dry run)",
                one.snapshot.id.name
            )?;
        }
        return Ok(Exit::Done);
    }
    if !asked.yes {
        for one in &go {
            let home = one.home.as_ref();
            let of = home.map(|home| format!(" of {}/{}", home.namespace, home.claim));
            eprintln!("  {}{}", one.snapshot.id.name, of.unwrap_or_default());
        }
    }
    let what = match go.len() {
        1 => "Delete this snapshot?".to_owned(),
        many => format!("Delete these {many} snapshots?"),
    };
    confirm(&what, asked.yes)?;
    let azure = context.azure().await?;
    let mut done = 0;
    for one in &go {
        if context.cancel.is_cancelled() {
            return Ok(Exit::Interrupted);
        }
        match azure.delete_snapshot(&one.snapshot.id).await {
            Ok(()) => {
                done += 1;
                writeln!(out, "snapshot {} deleted", one.snapshot.id.name)?;
            }
            Err(error) => eprintln!("error: {error}"),
        }
    }
    Ok(Exit::of(done, go.len()))
}

async fn named(context: &Context, asked: &cli::Delete) -> Result<Vec<Found>, Failure> {
    let group = asked.place.snapshot_resource_group.as_deref();
    let mut go: Vec<Found> = Vec::new();
    for name in &asked.snapshots {
        let one = context.snapshot(name, group).await?;
        if let Some(backup) = one.backup() {
            return Err(Failure::Refused(Refusal(format!(
                "snapshot {} is of Velero's backup {backup}, which could not be restored without it: velero backup \
                 delete {backup} deletes both",
                one.snapshot.id.name
            ))));
        }
        if !go.iter().any(|other| other.snapshot.id == one.snapshot.id) {
            go.push(one);
        }
    }
    Ok(go)
}

async fn old(
    context: &Context,
    asked: &cli::Delete,
    age: std::time::Duration,
) -> Result<Vec<Found>, Failure> {
    let scope = context.scope(asked.all_namespaces).await?;
    let cluster = context.by_hand().await?.identity().await;
    let cluster = cluster.ok_or_else(|| {
        Failure::Kubernetes(
            "what tells this cluster's snapshots from another's is the UID of the namespace kube-system, which you may \
             not read: name the snapshots instead"
                .to_owned(),
        )
    })?;
    let group = asked.place.snapshot_resource_group.as_deref();
    let mut found = context.snapshots(group).await?;
    if let Scope::Namespace(namespace) = &scope {
        found.retain(|one| {
            one.home
                .as_ref()
                .is_some_and(|home| home.namespace == *namespace)
        });
    }
    let now = SystemTime::now();
    let is_old = |one: &Found| one.age(now).is_some_and(|old| old > age);
    Ok(superfluous(found, &cluster, asked.keep, is_old))
}
