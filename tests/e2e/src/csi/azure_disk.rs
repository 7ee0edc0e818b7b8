//! azuredisk-csi-driver's controller service. It is no part of this repository and not had as a Go module.

use std::{fs, path::Path, sync::Arc};

use anyhow::Result;
use serde_json::json;
use stillpoint_cluster::{Cluster, Companion, CompanionOptions, Door};
use stillpoint_lab::Lab;

use super::LOCATION;

/// Starts it as it is deployed, without a node's ID: the controller service alone. It logs in at its first request.
pub(super) async fn start(
    cluster: &Cluster,
    lab: &Arc<Lab>,
    program: &Path,
    socket: &Path,
) -> Result<Companion> {
    let directory = cluster.directory();
    let (config, ca) = (directory.join("azure.json"), directory.join("azure-ca.crt"));
    fs::write(&config, cloud(lab).to_string())?;
    fs::write(&ca, lab.ca_pem())?;
    let metrics = cluster.spare_address(0);
    let kubeconfig = cluster.kubeconfig();
    let arguments = [
        "--v=5".to_owned(),
        format!("--endpoint=unix://{}", socket.display()),
        format!("--metrics-address={metrics}"),
        format!("--kubeconfig={}", kubeconfig.display()),
        "--user-agent-suffix=OSS-kubectl".into(),
        "--disable-avset-nodes=false".into(),
        "--allow-empty-cloud-config=false".into(),
    ];
    cluster
        .start_companion(CompanionOptions {
            name: "azurediskplugin",
            program: program.to_owned(),
            arguments: arguments.map(Into::into).into(),
            variables: vec![
                ("AZURE_CREDENTIAL_FILE".into(), config.into()),
                ("SSL_CERT_FILE".into(), ca.into()),
            ],
            door: Door::Unix(socket.to_owned()),
        })
        .await
}

/// The cloud provider's config, as AKS writes it.
fn cloud(lab: &Lab) -> serde_json::Value {
    let file = lab.credentials_file();
    let variable = |name: &str| {
        let mut lines = file.lines().filter_map(|line| line.split_once('='));
        lines.find_map(|(key, value)| (key == name).then(|| value.to_owned()))
    };
    json!({
        "cloud": "AzurePublicCloud",
        "tenantId": variable("AZURE_TENANT_ID"),
        "subscriptionId": variable("AZURE_SUBSCRIPTION_ID"),
        "aadClientId": variable("AZURE_CLIENT_ID"),
        "aadClientSecret": variable("AZURE_CLIENT_SECRET"),
        "resourceGroup": variable("AZURE_RESOURCE_GROUP"),
        "location": LOCATION,
        "useInstanceMetadata": false,
    })
}
