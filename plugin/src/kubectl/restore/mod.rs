//! `restore`: a disk from a snapshot, and the way back to a pod.
//!
//! ```text
//!  snapshot ─► cluster: free? where? ─► disk as it would be ─► SKU there? ─► (difference, yes?) ─► disk ─► objects
//!                  │                          │                   │                 │                        │
//!               refused, with what to do, before anything was made ─────────────────┘             applied or printed
//! ```

mod claim;
mod inline;

use std::{io::Write, sync::Arc};

use super::{
    Failure,
    cli::{self, Document, DryRun, Form},
    context::Context,
    failure::Exit,
    found::{self, Found},
    output, plan,
    progress::Line,
};
use crate::{
    config::Location,
    kubernetes::{ByHand, Site},
    model::{DiskId, ResourceGroup, Zone, region},
    ports::{Azure, Catalogue as _},
    pv::RestoredDisk,
    restore::{Memory, Place, Prepared, Request, Restores},
    tags,
};

/// A disk's name is this of its claim's, and a fresh end.
const READABLE: usize = 40;

/// What is known before anything is made.
struct Plan<'a> {
    context: &'a Context,
    asked: &'a cli::Restore,
    found: Found,
    by_hand: Option<ByHand>,
    site: Site,
    namespace: String,
    /// The claim's name, or how the disk's begins.
    name: String,
    restores: Restores,
    prepared: Prepared,
}

pub(super) async fn run(
    context: &Context,
    asked: &cli::Restore,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    check(asked)?;
    let plan = Plan::make(context, asked).await?;
    tell(&plan.found);
    match asked.form {
        Form::Pvc => claim::run(&plan, out).await?,
        Form::Inline => inline::run(&plan, out).await?,
        Form::Disk => disk(&plan, out).await?,
    }
    Ok(Exit::Done)
}

/// Which snapshot it is, and what that is worth.
fn tell(found: &Found) {
    let name = &found.snapshot.id.name;
    match &found.marks.worth {
        Some(worth) if worth.consistency.is_consistent() => {
            eprintln!("from snapshot {name} ({})", worth.consistency);
        }
        Some(worth) => {
            eprintln!("from snapshot {name}");
            eprintln!("warning: it is crash-consistent only: {}", worth.reason);
        }
        None => {
            eprintln!("from snapshot {name}");
            eprintln!("warning: nobody wrote down whether its filesystem is whole");
        }
    }
}

/// Options that mean nothing together.
fn check(asked: &cli::Restore) -> Result<(), Failure> {
    let wrong = |text: &str| Err(Failure::Usage(text.to_owned()));
    let inline = asked.form == Form::Inline;
    match asked {
        _ if asked.patch.is_some() && !inline => wrong("--patch needs --as inline"),
        _ if asked.volume.is_some() && !inline => wrong("--volume needs --as inline"),
        _ if asked.apply && asked.form != Form::Pvc => wrong("--apply needs --as pvc"),
        _ if asked.in_tree && asked.form != Form::Pvc => {
            wrong("--in-tree needs --as pvc; --as inline is in-tree by itself")
        }
        _ => Ok(()),
    }
}

impl<'a> Plan<'a> {
    async fn make(context: &'a Context, asked: &'a cli::Restore) -> Result<Self, Failure> {
        let found = source(context, asked).await?;
        let snapshot = &found.snapshot;
        let home = found.home.as_ref();
        let (namespace, name) = target(context, asked, &found).await?;
        let (by_hand, site) = match look(context, &namespace, &name).await {
            Ok((by_hand, site)) => (Some(by_hand), site),
            // A disk is made without any cluster.
            Err(error) if asked.form == Form::Disk => {
                tracing::warn!(%error, "whether the cluster has nodes there is not known");
                (None, Site::default())
            }
            Err(error) => return Err(error),
        };
        let here = region(&snapshot.location);
        plan::region_is_ours(&site, &here)?;
        if asked.form == Form::Pvc {
            plan::claim_is_free(&site, &namespace, &name)?;
        }
        let record = tags::disk_record(&snapshot.tags).ok().flatten();
        let redundant = asked.sku.as_ref().or(record.as_ref().map(|disk| &disk.sku));
        let redundant = redundant.is_some_and(|sku| sku.is_zone_redundant());
        let recorded = record.as_ref().and_then(|disk| disk.zones.first());
        let original = home.and_then(|home| home.zone.clone());
        let original = original.or_else(|| {
            recorded.map(|number| Zone {
                region: here.clone(),
                number: number.clone(),
            })
        });
        let place = match (&by_hand, asked.zone.as_deref()) {
            _ if redundant => Place::Region,
            (Some(_), zone) => plan::place(&site, &here, zone, original.as_ref())?,
            (None, Some("none")) => Place::Region,
            (None, Some(zone)) => Place::Zone(plan::zone(zone, &here)?),
            (None, None) => original.map_or(Place::Region, Place::Zone),
        };
        let group = group(
            context,
            asked,
            &site,
            snapshot.id.group.subscription.as_str(),
        )
        .await?;
        let azure: Arc<dyn Azure> = Arc::new(context.azure().await?.clone());
        let location = Location::new(context.settings()?, group);
        let restores = Restores::new(Arc::new(location), azure, Arc::<Memory>::default());
        let request = Request {
            snapshot: snapshot.id.to_string(),
            volume_type: asked
                .sku
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            place: Some(place),
            sku: asked.sku.clone(),
            name: Some(readable(&name)),
            ..Request::default()
        };
        let prepared = restores.prepare(&request).await?;
        offered(context, &prepared.disk()).await?;
        Ok(Self {
            context,
            asked,
            found,
            by_hand,
            site,
            namespace,
            name,
            restores,
            prepared,
        })
    }

    /// The cluster, which all but a disk alone needs.
    fn by_hand(&self) -> Result<&ByHand, Failure> {
        let by_hand = self.by_hand.as_ref();
        by_hand.ok_or_else(|| Failure::Kubernetes("the cluster cannot be asked".to_owned()))
    }

    fn is_dry(&self) -> bool {
        self.asked.dry_run != DryRun::None
    }

    /// Makes the disk, and looks at its real size.
    async fn make_disk(&self) -> Result<(RestoredDisk, u32), Failure> {
        let line = Line::alone(&format!("disk {}", self.prepared.disk().id.name));
        line.begins("is made");
        let made = self
            .restores
            .make(&self.prepared, &self.context.cancel)
            .await;
        let made = made.inspect_err(|_| line.ended("failed"))?;
        let disk = self.restores.restored(&made.to_string()).await?;
        let azure = self.context.azure().await?;
        let size = azure.disk(&made).await?.gibibytes;
        let zone = disk.zone.as_ref().map(|zone| format!(" in {zone}"));
        let (sku, zone) = (&disk.properties.sku, zone.unwrap_or_default());
        line.ended(format_args!("{size} GiB, {sku}{zone}"));
        Ok((disk, size))
    }

    /// What the disk would be.
    fn imagined(&self) -> (RestoredDisk, u32) {
        let size = self.prepared.snapshot().gibibytes.unwrap_or_default();
        (self.prepared.disk(), size)
    }

    fn filesystem(&self) -> Option<String> {
        let recorded = || self.found.home.as_ref()?.filesystem.clone();
        self.asked.fs_type.clone().or_else(recorded)
    }
}

/// The snapshot that is meant.
async fn source(context: &Context, asked: &cli::Restore) -> Result<Found, Failure> {
    let group = asked.place.snapshot_resource_group.as_deref();
    if let Some(text) = &asked.snapshot {
        return context.snapshot(text, group).await;
    }
    let claim = asked.latest_of.as_deref().unwrap_or_default();
    let (namespace, claim) = match claim.split_once('/') {
        Some((namespace, claim)) => (namespace.to_owned(), claim),
        None => (context.namespace().await?, claim),
    };
    let cluster = match context.by_hand().await {
        Ok(by_hand) => by_hand.identity().await,
        Err(_) => None,
    };
    let snapshots = context.snapshots(group).await?;
    found::latest(snapshots, &namespace, claim, cluster.as_deref()).map_err(Failure::Usage)
}

/// Namespace and name of what comes back: as asked for, else as it was.
async fn target(
    context: &Context,
    asked: &cli::Restore,
    found: &Found,
) -> Result<(String, String), Failure> {
    let home = found.home.as_ref();
    let namespace = context.global.namespace.clone();
    let namespace = match namespace.or(home.map(|home| home.namespace.clone())) {
        Some(namespace) => namespace,
        None if asked.form == Form::Disk => String::new(),
        None => context.namespace().await?,
    };
    let name = asked.name.clone().or(home.map(|home| home.claim.clone()));
    let name = match name {
        Some(name) => name,
        None if asked.form == Form::Disk => "restore".to_owned(),
        None => {
            return Err(Failure::Usage(format!(
                "snapshot {} does not say which claim it is of, as those of Velero's backups: say --name",
                found.snapshot.id.name
            )));
        }
    };
    Ok((namespace, name))
}

async fn look(context: &Context, namespace: &str, name: &str) -> Result<(ByHand, Site), Failure> {
    let by_hand = context.by_hand().await?;
    let site = by_hand.site(namespace, name).await;
    Ok((by_hand, site.map_err(Failure::Kubernetes)?))
}

/// Where the disk goes: a group that the cluster may use.
async fn group(
    context: &Context,
    asked: &cli::Restore,
    site: &Site,
    snapshots: &str,
) -> Result<ResourceGroup, Failure> {
    let nodes = site.group.clone();
    if let Some(name) = &asked.resource_group {
        let subscription = nodes.map(|group| group.subscription);
        return Ok(ResourceGroup {
            subscription: subscription.unwrap_or_else(|| snapshots.to_owned()),
            name: name.clone(),
        });
    }
    let credentials = context.azure().await?.environment().cluster.clone();
    nodes.or(credentials).ok_or_else(|| {
        Failure::Usage(
            "which resource group gets the disk? This cluster's nodes do not tell theirs: say --resource-group, the one \
             in which the cluster's disks are (MC_…)"
                .to_owned(),
        )
    })
}

/// Azure must have such disks there. Who may not read what it has finds out when the disk is made.
async fn offered(context: &Context, disk: &RestoredDisk) -> Result<(), Failure> {
    let azure = context.azure().await?;
    let offers = azure.disk_offers(&disk.id.group.subscription, &disk.region);
    match offers.await {
        Ok(offers) => {
            let sku = &disk.properties.sku;
            plan::sku_is_offered(&offers, sku, &disk.region, disk.zone.as_ref())?;
        }
        Err(error) => {
            tracing::warn!(%error, "whether there are such disks in that zone is not known");
        }
    }
    Ok(())
}

/// The beginning of a disk's name: 80 characters are allowed, and a PersistentVolume is to have the same.
fn readable(name: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let name = name.chars().map(|c| if allowed(c) { c } else { '-' });
    let name: String = name.take(READABLE).collect();
    let name = name.trim_matches('-').to_ascii_lowercase();
    if name.is_empty() {
        "restore".to_owned()
    } else {
        name
    }
}

async fn disk(plan: &Plan<'_>, out: &mut impl Write) -> Result<(), Failure> {
    let (disk, size) = if plan.is_dry() {
        plan.imagined()
    } else {
        plan.make_disk().await?
    };
    let document = serde_json::json!({
        "id": disk.id.to_string(),
        "location": disk.region,
        "zone": disk.zone.as_ref().map(ToString::to_string),
        "sku": disk.properties.sku.to_string(),
        "sizeGiB": size,
    });
    match plan.asked.output {
        Some(Document::Yaml) => output::yaml(out, &[document])?,
        Some(Document::Json) => output::json(out, &document)?,
        Some(Document::Name) | None => writeln!(out, "{}", disk.id)?,
    }
    Ok(())
}

/// What stays in Azure if the rest fails.
fn leaves(disk: &DiskId, failure: &Failure) {
    eprintln!(
        "the disk {disk} was made, and stays: {failure}; once that is mended, make the PersistentVolume for it by hand, \
         or delete it and begin again"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_s_name_is_one_that_azure_and_kubernetes_take() {
        for (name, expected) in [
            ("data-db-0", "data-db-0"),
            ("Data.DB_0", "data-db-0"),
            ("..", "restore"),
            (&"x".repeat(253), &"x".repeat(40)),
        ] {
            assert_eq!(readable(name), expected);
        }
    }
}
