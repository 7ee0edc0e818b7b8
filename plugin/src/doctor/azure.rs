//! Azure, as a VolumeSnapshotLocation needs it.

use std::time::Duration;

use super::{compare_clock, report::Report};
use crate::{
    azure::{self, Client, Trial},
    config::{Location, Settings},
    model::ResourceGroup,
    ports::{Azure as _, AzureError},
};

/// Nobody waits for retries here.
const PATIENCE: Duration = Duration::from_secs(15);

pub(super) async fn examine(report: &mut Report, settings: &Settings) {
    let connected = azure::connect(&azure::Settings {
        credentials_file: settings.credentials_file.clone(),
        subscription: settings.subscription.clone(),
        resource_group: settings.resource_group.clone(),
        active_directory_authority: settings.authority.clone(),
        resource_manager_endpoint: settings.resource_manager.clone(),
        ca_cert: settings.ca_cert.clone(),
        api_timeout: settings.api_timeout.min(PATIENCE),
    });
    let client = match connected {
        Ok(client) => client,
        Err(error) => {
            let remedy = "set what is missing in the credentials file or in the environment of Velero's container";
            report.wrong("credentials", crate::error::report(&error), remedy);
            return;
        }
    };
    if let Err(error) = client.log_in().await {
        let remedy = "mend the credentials, or the way to the token endpoint";
        report.wrong("login", error.to_string(), remedy);
        return;
    }
    report.good("login", "Azure gives a token");
    let Some(cluster) = cluster(&client, settings) else {
        report.wrong(
            "resource group",
            "the cluster's is not known",
            "set AZURE_SUBSCRIPTION_ID and AZURE_RESOURCE_GROUP (the node resource group) in the credentials",
        );
        return;
    };
    let location = Location::new(settings.clone(), cluster.clone());
    let (snapshots, restored) = (location.snapshots(), location.restored());
    match client.snapshots(&snapshots).await {
        Ok(found) => report.good(
            "Microsoft.Compute/snapshots/read",
            format!("{} snapshots in {snapshots}", found.len()),
        ),
        Err(error) => refused(
            report,
            "Microsoft.Compute/snapshots/read",
            &snapshots,
            &error,
        ),
    }
    if let Some(time) = client.azure_time(&snapshots).await {
        compare_clock(report, "Azure", time);
    }
    for trial in client.try_rights(&cluster, &snapshots, &restored).await {
        let Trial {
            action,
            group,
            outcome,
        } = trial;
        match outcome {
            Ok(()) => report.good(action, format!("granted in {group}")),
            Err(error) => refused(report, action, &group, &error),
        }
    }
}

fn cluster(client: &Client, settings: &Settings) -> Option<ResourceGroup> {
    client.environment().cluster.clone().or_else(|| {
        let subscription = settings.target_subscription.clone()?;
        let name = settings.target_resource_group.clone()?;
        Some(ResourceGroup { subscription, name })
    })
}

fn refused(report: &mut Report, action: &'static str, group: &ResourceGroup, error: &AzureError) {
    let message = error.to_string();
    match error {
        AzureError::NotFound { .. } => {
            let remedy = "make the resource group, or name another: AZURE_RESOURCE_GROUP is the cluster's, the \
                          location's `resourceGroup` that of snapshots, `targetResourceGroup` that of restored disks";
            report.wrong(action, message, remedy);
        }
        AzureError::Refused {
            status: 401 | 403, ..
        } => {
            let remedy = format!(
                "assign the role of deploy/azure to Velero's identity on {group}; a new assignment takes minutes"
            );
            report.wrong(action, message, &remedy);
        }
        AzureError::Unanswered { .. } | AzureError::Throttled { .. } => {
            report.warn(action, message, "ask again later");
        }
        AzureError::Conflict { .. }
        | AzureError::Refused { .. }
        | AzureError::Failed { .. }
        | AzureError::Credentials(_) => report.wrong(action, message, ""),
    }
}
