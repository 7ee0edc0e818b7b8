//! A PersistentVolume and its claim: applied and awaited, or printed.

use std::io::Write;

use serde_json::Value;

use super::{
    super::{
        Failure,
        cli::{Document, DryRun, Reclaim},
        output, plan,
    },
    Plan, leaves,
};
use crate::pv::{Fresh, RestoredDisk};

pub(super) async fn run(plan: &Plan<'_>, out: &mut impl Write) -> Result<(), Failure> {
    let class = class(plan)?;
    plan::class_is_known(&plan.site, &class)?;
    let (imagined, size) = plan.imagined();
    let [volume, claim] = objects(plan, &class, &imagined, size)?;
    // What the API server would refuse is better known before there is a disk.
    if plan.asked.dry_run == DryRun::Server || plan.asked.apply && !plan.is_dry() {
        plan.by_hand()?.create(&volume, &claim, true).await?;
    }
    if plan.is_dry() {
        return print(plan, &[volume, claim], Some("(dry run)"), out);
    }
    let (disk, size) = plan.make_disk().await?;
    let objects = objects(plan, &class, &disk, size)?;
    if !plan.asked.apply {
        return print(plan, &objects, None, out);
    }
    if let Err(failure) = apply(plan, &objects).await {
        leaves(&disk.id, &failure);
        return Err(failure);
    }
    print(plan, &objects, Some("created"), out)?;
    let bound = plan.by_hand()?;
    let bound = bound.until_bound(&plan.namespace, &plan.name, plan.asked.timeout);
    tokio::select! {
        bound = bound => bound?,
        () = plan.context.cancel.cancelled() => return Err(Failure::NotAwaited),
    }
    if plan.asked.output.is_none() {
        writeln!(out, "persistentvolumeclaim/{} bound", plan.name)?;
    }
    Ok(())
}

async fn apply(plan: &Plan<'_>, [volume, claim]: &[Value; 2]) -> Result<(), Failure> {
    Ok(plan.by_hand()?.create(volume, claim, false).await?)
}

/// As asked for, else the original's.
fn class(plan: &Plan<'_>) -> Result<String, Failure> {
    let recorded = plan.found.home.as_ref();
    let recorded = recorded.map(|home| home.storage_class.clone());
    plan.asked.storage_class.clone().or(recorded).ok_or_else(|| {
        Failure::Usage(
            "the snapshot does not say of which storage class its claim was: say --storage-class, \"\" for none".to_owned(),
        )
    })
}

fn objects(
    plan: &Plan<'_>,
    class: &str,
    disk: &RestoredDisk,
    gibibytes: u32,
) -> Result<[Value; 2], Failure> {
    let home = plan.found.home.clone().unwrap_or_default();
    let mut access_modes = home.access_modes;
    if access_modes.is_empty() {
        access_modes.push("ReadWriteOnce".to_owned());
    }
    let fresh = Fresh {
        namespace: plan.namespace.clone(),
        claim: plan.name.clone(),
        storage_class: class.to_owned(),
        gibibytes,
        access_modes,
        block: home.block,
        filesystem: plan.filesystem(),
        reclaim_policy: match plan.asked.reclaim_policy {
            Reclaim::Retain => "Retain".to_owned(),
            Reclaim::Delete => "Delete".to_owned(),
        },
        in_tree: plan.asked.in_tree,
        labels: home.labels,
    };
    let volume = fresh.volume(disk)?;
    let claim = fresh.claim(&volume);
    Ok([volume, claim])
}

/// `done`: what became of them, if they are not to be applied by who reads this.
fn print(
    plan: &Plan<'_>,
    objects: &[Value; 2],
    done: Option<&str>,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let dry = plan.is_dry();
    match (plan.asked.output, done) {
        (Some(Document::Json), _) => {
            let list = serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": objects });
            output::json(out, &list)?;
        }
        (Some(Document::Yaml), _) | (None, None) => output::yaml(out, objects)?,
        (None, Some(_)) if dry && !plan.asked.apply => output::yaml(out, objects)?,
        (form, done) => {
            let done = match (form, done) {
                (None, Some(done)) if dry => format!(" created {done}"),
                (None, Some(done)) => format!(" {done}"),
                _ => String::new(),
            };
            for object in objects {
                let kind = object["kind"]
                    .as_str()
                    .unwrap_or_default()
                    .to_ascii_lowercase();
                let name = object["metadata"]["name"].as_str().unwrap_or_default();
                writeln!(out, "{kind}/{name}{done}")?;
            }
        }
    }
    Ok(())
}
