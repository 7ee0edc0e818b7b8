//! `snapshot`: claims are snapshotted, several at once, and older snapshots pruned.

use std::{collections::BTreeMap, io::Write, sync::Arc};

use futures::{StreamExt as _, stream};
use serde_json::{Value, json};

use super::{
    Failure,
    cli::{self, Output},
    context::Context,
    failure::Exit,
    found::{Found, superfluous},
    output::{self, Table},
    progress::Progress,
};
use crate::{
    config::Location,
    kubernetes::{Claim, Scope},
    model::{Consistency, DiskId, ResourceGroup},
    ports::Azure,
    snapshot::{Process, Snapshots, Taken, Volume},
    tags::Home,
};

/// A claim, and what became of it.
struct Outcome {
    home: Home,
    disk: Option<DiskId>,
    taken: Result<Taken, String>,
}

pub(super) async fn run(
    context: &Context,
    asked: &cli::Snapshot,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    let scope = context.scope(asked.all_namespaces).await?;
    let by_hand = context.by_hand().await?;
    let claims = by_hand.claims(&scope, &asked.claims, asked.selector.as_deref());
    let claims = claims.await.map_err(Failure::Kubernetes)?;
    if claims.is_empty() {
        let of = asked
            .selector
            .as_deref()
            .map(|labels| format!(" with labels {labels}"));
        return Err(Failure::Usage(format!(
            "there are no claims{} in {}",
            of.unwrap_or_default(),
            match &scope {
                Scope::All => "any namespace",
                Scope::Namespace(namespace) => namespace,
            }
        )));
    }
    let site = Site::new(context, asked, &claims).await?;
    let taken = stream::iter(claims)
        .map(|claim| site.take(claim))
        .buffered(asked.parallel.into());
    let outcomes: Vec<Outcome> = taken.collect().await;
    print(out, asked.output, &scope, &outcomes)?;
    let pruned = match asked.keep {
        Some(keep) if !context.cancel.is_cancelled() => site.prune(&outcomes, keep).await,
        Some(_) | None => true,
    };
    let done = outcomes.iter().filter(|one| one.taken.is_ok()).count();
    Ok(match Exit::of(done, outcomes.len()) {
        _ if context.cancel.is_cancelled() => Exit::Interrupted,
        Exit::Done if !pruned => Exit::Partly,
        exit => exit,
    })
}

/// All that is needed to take them.
struct Site<'a> {
    context: &'a Context,
    asked: &'a cli::Snapshot,
    azure: Arc<dyn Azure>,
    /// An incremental snapshot stays in its disk's subscription.
    locations: BTreeMap<String, Snapshots>,
    progress: Arc<Progress>,
}

impl<'a> Site<'a> {
    async fn new(
        context: &'a Context,
        asked: &'a cli::Snapshot,
        claims: &[Claim],
    ) -> Result<Self, Failure> {
        let azure: Arc<dyn Azure> = Arc::new(context.azure().await?.clone());
        let view = context.view();
        let agents = Arc::new(context.agents(&view));
        let known = claims.iter().filter_map(|claim| {
            let disk = claim.disk.as_ref().ok()?;
            Some((disk, named(&claim.home)))
        });
        let progress = Arc::new(Progress::new(known));
        let mut settings = context.settings()?;
        settings.freeze = asked.freeze;
        settings.freeze_timeout = asked.freeze_timeout;
        settings.tags = asked.tags.iter().cloned().collect();
        if !asked.wait {
            settings.copy_timeout = std::time::Duration::ZERO;
        }
        let process = Arc::new(Process::default());
        let mut locations = BTreeMap::new();
        for disk in claims.iter().filter_map(|claim| claim.disk.as_ref().ok()) {
            let subscription = disk.group.subscription.to_ascii_lowercase();
            let group = ResourceGroup {
                subscription: disk.group.subscription.clone(),
                name: asked.destination_resource_group.clone(),
            };
            locations.entry(subscription).or_insert_with(|| {
                let location = Location::new(settings.clone(), group);
                let owners = Some(view.clone() as Arc<dyn crate::ports::Owners>);
                Snapshots::new(
                    Arc::new(location),
                    azure.clone(),
                    agents.clone(),
                    owners,
                    None,
                    process.clone(),
                )
                .watched(progress.clone())
            });
        }
        Ok(Self {
            context,
            asked,
            azure,
            locations,
            progress,
        })
    }

    async fn take(&self, claim: Claim) -> Outcome {
        let Claim { home, disk } = claim;
        let taken = match &disk {
            Ok(disk) => {
                self.progress.begins(disk);
                let taken = self.take_disk(disk, &home).await;
                match &taken {
                    Ok(taken) => self.progress.ended(disk, summary(taken)),
                    Err(_) => self.progress.ended(disk, "failed"),
                }
                taken
            }
            Err(reason) => Err(reason.clone()),
        };
        Outcome {
            home,
            disk: disk.ok(),
            taken,
        }
    }

    async fn take_disk(&self, disk: &DiskId, home: &Home) -> Result<Taken, String> {
        if self.context.cancel.is_cancelled() {
            return Err("interrupted before it was begun".to_owned());
        }
        if let Some(only) = &self.asked.source_resource_group
            && !only.eq_ignore_ascii_case(&disk.group.name)
        {
            return Err(format!(
                "its disk is in resource group {}, and --source-resource-group says {only}",
                disk.group.name
            ));
        }
        let subscription = disk.group.subscription.to_ascii_lowercase();
        let snapshots = self.locations.get(&subscription);
        let snapshots = snapshots.ok_or("its subscription is not known")?;
        let volume = Volume {
            id: disk.to_string(),
            tags: BTreeMap::new(),
            home: Some(home.clone()),
        };
        let mode = snapshots.freeze_mode(&volume.id).await;
        let taken = snapshots.take(volume, mode, &self.context.cancel).await;
        taken.map_err(|error| error.to_string())
    }

    /// Deletes what each claim that was just snapshotted has too many of; whether that worked.
    async fn prune(&self, outcomes: &[Outcome], keep: u16) -> bool {
        let taken: Vec<&Outcome> = outcomes.iter().filter(|one| one.taken.is_ok()).collect();
        let cluster = taken.iter().find_map(|one| one.home.cluster.clone());
        let Some(cluster) = cluster else {
            if !taken.is_empty() {
                eprintln!(
                    "error: nothing was pruned: what tells this cluster's snapshots from another's is the UID of the \
                     namespace kube-system, which you may not read"
                );
            }
            return taken.is_empty();
        };
        let mut worked = true;
        for location in self.locations.values() {
            let listed = match self.azure.snapshots(&location.group()).await {
                Ok(listed) => listed,
                Err(error) => {
                    eprintln!("error: nothing was pruned: {error}");
                    worked = false;
                    continue;
                }
            };
            let of_taken = |one: &Found| {
                let mut taken = taken.iter();
                taken.any(|other| one.is_of(&other.home.namespace, &other.home.claim))
            };
            let found = listed
                .into_iter()
                .map(Found::new)
                .filter(of_taken)
                .collect();
            for old in superfluous(found, &cluster, keep, |_| true) {
                let id = old.snapshot.id.to_string();
                match location.delete(&id).await {
                    Ok(()) => {
                        eprintln!("snapshot {} deleted (--keep {keep})", old.snapshot.id.name)
                    }
                    Err(error) => {
                        eprintln!("error: {error}");
                        worked = false;
                    }
                }
            }
        }
        worked
    }
}

fn named(home: &Home) -> String {
    format!("{}/{}", home.namespace, home.claim)
}

fn summary(taken: &Taken) -> String {
    let worth = &taken.worth;
    match (worth.consistency, worth.frozen.as_millis()) {
        (Consistency::Filesystem, milliseconds) => {
            format!("filesystem, frozen for {milliseconds} ms")
        }
        (Consistency::Unmounted, _) => "unmounted".to_owned(),
        (Consistency::Crash, _) => "crash-consistent only".to_owned(),
    }
}

fn print(
    out: &mut impl Write,
    form: Output,
    scope: &Scope,
    outcomes: &[Outcome],
) -> Result<(), Failure> {
    match form {
        Output::Table | Output::Wide => table(out, scope, form == Output::Wide, outcomes)?,
        Output::Json => output::json(out, &json!({ "items": items(outcomes) }))?,
        Output::Yaml => output::yaml(out, &[json!({ "items": items(outcomes) })])?,
        Output::Name => {
            for taken in outcomes.iter().filter_map(|one| one.taken.as_ref().ok()) {
                writeln!(out, "{}", taken.snapshot)?;
            }
        }
    }
    for one in outcomes {
        let named = named(&one.home);
        match &one.taken {
            Ok(taken) if taken.worth.consistency == Consistency::Crash => {
                eprintln!(
                    "warning: {named} is crash-consistent only: {}",
                    taken.worth.reason
                );
            }
            Ok(_) => {}
            Err(reason) => eprintln!("error: {named}: {reason}"),
        }
    }
    Ok(())
}

fn table(
    out: &mut impl Write,
    scope: &Scope,
    wide: bool,
    outcomes: &[Outcome],
) -> Result<(), Failure> {
    let mut headings = vec!["PVC", "DISK", "SNAPSHOT", "CONSISTENCY", "FROZEN-MS"];
    if *scope == Scope::All {
        headings.insert(0, "NAMESPACE");
    }
    if wide {
        headings.push("REASON");
    }
    let mut table = Table::new(&headings);
    for one in outcomes {
        let disk = one.disk.as_ref().map(|disk| disk.name.clone());
        let mut row = vec![one.home.claim.clone(), disk.unwrap_or_default()];
        match &one.taken {
            Ok(Taken {
                snapshot, worth, ..
            }) => row.extend([
                snapshot.name.clone(),
                worth.consistency.to_string(),
                worth.frozen.as_millis().to_string(),
            ]),
            Err(_) => row.extend([String::new(), "failed".to_owned(), String::new()]),
        }
        if *scope == Scope::All {
            row.insert(0, one.home.namespace.clone());
        }
        if wide {
            row.push(match &one.taken {
                Ok(taken) => taken.worth.reason.clone(),
                Err(reason) => reason.clone(),
            });
        }
        table.row(row);
    }
    Ok(table.print(out)?)
}

fn items(outcomes: &[Outcome]) -> Vec<Value> {
    let item = |one: &Outcome| {
        let mut item = json!({
            "namespace": one.home.namespace,
            "pvc": one.home.claim,
            "disk": one.disk.as_ref().map(ToString::to_string),
        });
        match &one.taken {
            Ok(taken) => {
                item["snapshot"] = json!(taken.snapshot.to_string());
                item["consistency"] = json!(taken.worth.consistency.to_string());
                item["reason"] = json!(taken.worth.reason);
                item["frozenMilliseconds"] = json!(taken.worth.frozen.as_millis());
            }
            Err(reason) => item["error"] = json!(reason),
        }
        item
    };
    outcomes.iter().map(item).collect()
}
