//! The command line.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::engine::ArgValueCompleter;
use tracing::level_filters::LevelFilter;
use url::Url;

use super::{complete, values};
use crate::{
    config::{FreezeMode, ServiceAccount},
    kubernetes::Workload,
    model::Sku,
};

const EXIT_CODES: &str = "\
Exit codes:
  0    all of it was done
  1    none of it was done; the reason is on stderr
  2    the command line was not understood
  3    some of it was done, some failed
  130  interrupted; what was in the making was undone";

/// Snapshots of volumes on Azure disks, and volumes from snapshots
#[derive(Debug, Parser)]
#[command(
    name = "kubectl-stillpoint",
    bin_name = "kubectl stillpoint",
    version,
    after_help = EXIT_CODES,
    disable_help_subcommand = true
)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// Which cluster, and who in Azure.
#[derive(Clone, Debug, Args)]
pub(super) struct Global {
    /// The kubeconfig; KUBECONFIG, else ~/.kube/config
    #[arg(long, global = true, help_heading = "Cluster")]
    pub(super) kubeconfig: Option<PathBuf>,
    /// The kubeconfig's context
    #[arg(long, global = true, help_heading = "Cluster")]
    pub(super) context: Option<String>,
    /// The namespace of the claims
    #[arg(short, long, global = true, help_heading = "Cluster")]
    pub(super) namespace: Option<String>,
    /// The namespace of the agents
    #[arg(
        long,
        global = true,
        env = "STILLPOINT_NAMESPACE",
        default_value = "velero",
        help_heading = "Cluster"
    )]
    pub(super) agent_namespace: String,
    /// NAMESPACE/NAME of the service account as which the agents are asked: they must accept it, and you must be allowed
    /// to request its tokens
    #[arg(
        long,
        global = true,
        env = "STILLPOINT_AGENT_SERVICE_ACCOUNT",
        default_value = "velero/velero",
        value_parser = values::account,
        help_heading = "Cluster"
    )]
    pub(super) agent_service_account: ServiceAccount,
    /// The subscription of the snapshots; that of the disks, else of the cluster's nodes
    #[arg(
        long,
        global = true,
        env = "AZURE_SUBSCRIPTION_ID",
        help_heading = "Azure"
    )]
    pub(super) subscription: Option<String>,
    /// A credentials file as Velero has it. Without one: the environment (client secret, certificate, workload identity),
    /// else `az login`
    #[arg(
        long,
        global = true,
        env = "AZURE_CREDENTIALS_FILE",
        help_heading = "Azure"
    )]
    pub(super) credentials_file: Option<PathBuf>,
    /// Azure Stack and air-gapped clouds: where the resource manager is
    #[arg(
        long,
        global = true,
        env = "STILLPOINT_RESOURCE_MANAGER_ENDPOINT",
        help_heading = "Azure"
    )]
    pub(super) resource_manager_endpoint: Option<Url>,
    /// The same: where tokens come from
    #[arg(
        long,
        global = true,
        env = "STILLPOINT_ACTIVE_DIRECTORY_AUTHORITY",
        help_heading = "Azure"
    )]
    pub(super) active_directory_authority: Option<Url>,
    /// What is logged on stderr: off, error, warn, info, debug or trace
    #[arg(long, global = true, default_value = "off")]
    pub(super) log_level: LevelFilter,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Snapshot(Snapshot),
    Snapshots(Snapshots),
    Restore(Restore),
    Delete(Delete),
    Status(Status),
    Completion(Completion),
}

/// Where snapshots are looked for.
#[derive(Clone, Debug, Args)]
pub(super) struct Where {
    /// The resource group of the snapshots; all of the subscription if not given
    #[arg(long, env = "STILLPOINT_SNAPSHOT_RESOURCE_GROUP")]
    pub(super) snapshot_resource_group: Option<String>,
}

/// Take snapshots of claims, their filesystems frozen for the moment of the cut
///
/// Each is tagged with what it is worth and with where it came from, so that `restore` needs no more than the snapshot.
/// One that fails does not stop the others.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  # two claims, into a resource group for backups
  kubectl stillpoint snapshot data-db-0 data-db-1 -n shop --destination-resource-group backups

  # every claim with that label in all namespaces; the last seven of each are kept
  kubectl stillpoint snapshot -A -l backup=daily --destination-resource-group backups --keep 7

  # no freeze, no snapshot
  kubectl stillpoint snapshot data --freeze required --destination-resource-group backups")]
pub(super) struct Snapshot {
    /// The claims; without any and without --selector, all of the namespace
    #[arg(value_name = "PVC", add = ArgValueCompleter::new(complete::claims))]
    pub(super) claims: Vec<String>,
    /// Claims with these labels
    #[arg(short = 'l', long, conflicts_with = "claims")]
    pub(super) selector: Option<String>,
    /// In all namespaces
    #[arg(short = 'A', long, conflicts_with_all = ["claims", "namespace"])]
    pub(super) all_namespaces: bool,
    /// Where the snapshots go
    #[arg(
        long,
        visible_alias = "snapshot-resource-group",
        env = "STILLPOINT_SNAPSHOT_RESOURCE_GROUP"
    )]
    pub(super) destination_resource_group: String,
    /// Only disks of this resource group; another's is refused
    #[arg(long)]
    pub(super) source_resource_group: Option<String>,
    /// auto: freeze where an agent can; required: no freeze, no snapshot; off. Annotations stillpoint.io/freeze say
    /// otherwise, but lower no `required`
    #[arg(long, default_value = "auto")]
    pub(super) freeze: FreezeMode,
    /// The longest that a filesystem stays frozen, from 1s to 60s; kept by the node
    #[arg(long, default_value = "10s", value_parser = values::freeze_timeout)]
    pub(super) freeze_timeout: Duration,
    /// KEY=VALUE: a tag for the snapshots; may be repeated
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = values::tag)]
    pub(super) tags: Vec<(String, String)>,
    /// After a claim's snapshot was taken, delete its older ones of this cluster but for so many in all; the newest
    /// consistent one always stays
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) keep: Option<u16>,
    /// Wait for the background copy of Premium SSD v2 and Ultra disks too
    #[arg(long)]
    pub(super) wait: bool,
    /// How many at once
    #[arg(long, default_value = "8", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(super) parallel: u16,
    /// How the result is printed
    #[arg(short, long, value_enum, default_value = "table")]
    pub(super) output: Output,
}

/// List snapshots of claims, of whatever cluster
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kubectl stillpoint snapshots -n shop
  kubectl stillpoint snapshots -n shop --pvc data-db-0 -o wide
  kubectl stillpoint snapshots -A -o json")]
pub(super) struct Snapshots {
    /// Of this claim
    #[arg(long, value_name = "NAME", add = ArgValueCompleter::new(complete::claims))]
    pub(super) pvc: Option<String>,
    /// Of all namespaces
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    pub(super) all_namespaces: bool,
    #[command(flatten)]
    pub(super) place: Where,
    /// How the result is printed
    #[arg(short, long, value_enum, default_value = "table")]
    pub(super) output: Output,
}

/// Make a disk from a snapshot, and bring it back to a pod
///
/// The disk is made in a zone that has nodes. Nothing that exists is replaced: a claim of that name must be gone, or
/// --name says another.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  # the last snapshot of a claim as a claim of the same name, in zone 2
  kubectl stillpoint restore --latest-of data-db-0 -n shop --zone 2 --apply

  # the disk is made; PersistentVolume and claim are printed
  kubectl stillpoint restore SNAPSHOT --name data-copy -n test > data.yaml

  # into the pods of a Deployment, without a claim; the difference is shown first
  kubectl stillpoint restore SNAPSHOT --as inline --patch deployment/web")]
pub(super) struct Restore {
    /// The snapshot: its name or its ID
    #[arg(required_unless_present = "latest_of", add = ArgValueCompleter::new(complete::snapshots))]
    pub(super) snapshot: Option<String>,
    /// The newest finished snapshot of this claim: NAME, or NAMESPACE/NAME
    #[arg(long, value_name = "PVC", conflicts_with = "snapshot", add = ArgValueCompleter::new(complete::claims))]
    pub(super) latest_of: Option<String>,
    #[command(flatten)]
    pub(super) place: Where,
    /// The zone: 1, westeurope-1, or none; that of the original
    #[arg(long)]
    pub(super) zone: Option<String>,
    /// The SKU: Premium_LRS, …; that of the original
    #[arg(long, value_parser = values::sku)]
    pub(super) sku: Option<Sku>,
    /// The resource group of the disk; that of the cluster's nodes
    #[arg(long)]
    pub(super) resource_group: Option<String>,
    /// What the disk becomes
    #[arg(long = "as", value_enum, default_value = "pvc")]
    pub(super) form: Form,
    /// The name of the claim; that of the original
    #[arg(long)]
    pub(super) name: Option<String>,
    /// The storage class of the claim, "" for none; that of the original
    #[arg(long)]
    pub(super) storage_class: Option<String>,
    /// What becomes of the disk when its claim is deleted
    #[arg(long, value_enum, default_value = "retain")]
    pub(super) reclaim_policy: Reclaim,
    /// The filesystem on the disk: ext4, xfs, …; that of the original
    #[arg(long)]
    pub(super) fs_type: Option<String>,
    /// An azureDisk volume with beta labels, for clusters without the CSI driver
    #[arg(long)]
    pub(super) in_tree: bool,
    /// With --as inline: change this workload, deployment/NAME, statefulset/NAME or daemonset/NAME
    #[arg(long, value_name = "KIND/NAME")]
    pub(super) patch: Option<Workload>,
    /// With --as inline: the name of the volume; the one of the original claim
    #[arg(long)]
    pub(super) volume: Option<String>,
    /// Make PersistentVolume and claim, and wait until they are bound; else they are printed
    #[arg(long)]
    pub(super) apply: bool,
    /// Make no disk: client checks and prints; server has the API server check the objects too
    #[arg(long, value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "client", default_value = "none")]
    pub(super) dry_run: DryRun,
    /// How the result is printed
    #[arg(short, long, value_enum)]
    pub(super) output: Option<Document>,
    /// Do not ask before a workload is changed
    #[arg(short, long)]
    pub(super) yes: bool,
    /// How long to wait until the claim is bound
    #[arg(long, default_value = "2m", value_parser = values::duration)]
    pub(super) timeout: Duration,
}

/// Delete snapshots
///
/// Either those named, or the old ones of this cluster's claims. Snapshots of Velero's backups are Velero's to delete.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kubectl stillpoint delete SNAPSHOT
  # what is older than a month, but for the last three of each claim; for a cron job
  kubectl stillpoint delete -A --older-than 30d --keep 3 --yes")]
pub(super) struct Delete {
    /// The snapshots: names or IDs
    #[arg(value_name = "SNAPSHOT", required_unless_present = "older_than", add = ArgValueCompleter::new(complete::snapshots))]
    pub(super) snapshots: Vec<String>,
    /// Those taken so long ago: 30d, 12h, …
    #[arg(long, conflicts_with = "snapshots", value_parser = values::age)]
    pub(super) older_than: Option<Duration>,
    /// But for the newest so many of each claim; the newest consistent one always stays
    #[arg(long, value_name = "N", requires = "older_than", default_value = "1")]
    pub(super) keep: u16,
    /// Of all namespaces
    #[arg(short = 'A', long, conflicts_with_all = ["namespace", "snapshots"])]
    pub(super) all_namespaces: bool,
    #[command(flatten)]
    pub(super) place: Where,
    /// Delete nothing, say what would be deleted
    #[arg(long, value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "client", default_value = "none")]
    pub(super) dry_run: DryRun,
    /// Do not ask
    #[arg(short, long)]
    pub(super) yes: bool,
}

/// Show agents, and which volumes would be frozen, and which not and why
#[derive(Debug, Args)]
pub(super) struct Status {
    /// The volumes of all namespaces
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    pub(super) all_namespaces: bool,
    /// How the result is printed
    #[arg(short, long, value_enum, default_value = "table")]
    pub(super) output: Output,
}

/// Print a shell's completion script
#[derive(Debug, Args)]
#[command(after_help = "\
For `kubectl stillpoint …`, kubectl calls kubectl_complete-stillpoint, to be put into PATH:
  kubectl stillpoint completion kubectl > ~/.local/bin/kubectl_complete-stillpoint
  chmod +x ~/.local/bin/kubectl_complete-stillpoint

For `kubectl-stillpoint …`:
  source <(kubectl-stillpoint completion bash)
  source <(kubectl-stillpoint completion zsh)
  kubectl-stillpoint completion fish | source")]
pub(super) struct Completion {
    /// For which
    #[arg(value_enum)]
    pub(super) shell: Shell,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Shell {
    Bash,
    Zsh,
    Fish,
    Kubectl,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    Table,
    Wide,
    Json,
    Yaml,
    Name,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Document {
    Yaml,
    Json,
    Name,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Form {
    /// A PersistentVolume with its claim
    Pvc,
    /// An azureDisk volume in a pod's spec
    Inline,
    /// Just the disk
    Disk,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Reclaim {
    Retain,
    Delete,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum DryRun {
    None,
    Client,
    Server,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        for line in [
            "snapshot data -A --destination-resource-group backups",
            "snapshot data --destination-resource-group backups --keep 0",
            "snapshot data --destination-resource-group backups --tag stillpoint-hold=x",
            "snapshot data --destination-resource-group backups --freeze-timeout 2m",
            "restore",
            "restore snap --latest-of data",
            "restore snap --patch job/web",
            "delete",
            "delete snap --older-than 1d",
            "delete --older-than month",
        ] {
            let words = ["kubectl-stillpoint"].into_iter().chain(line.split(' '));
            assert!(Cli::try_parse_from(words).is_err(), "{line}");
        }
    }
}
