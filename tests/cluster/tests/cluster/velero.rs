//! Velero beside the cluster.

use std::time::Duration;

use serde_json::json;
use stillpoint_cluster::{Cluster, Parts, VeleroOptions, until};

use crate::skip_if_missing;

#[tokio::test]
async fn velero_answers_and_comes_back_after_a_kill() {
    skip_if_missing!();
    let cluster = Cluster::start(Parts::Api).await.unwrap();
    let mut velero = cluster
        .start_velero(VeleroOptions::default())
        .await
        .unwrap();
    let version = velero.cli(&["version"]).await.unwrap();
    assert_eq!(
        version.matches("Version: v1.18").count(),
        2,
        "client and server: {version}"
    );

    // Nothing has a provider for it, and Velero says so.
    cluster
        .apply(json!({
            "apiVersion": "velero.io/v1",
            "kind": "BackupStorageLocation",
            "metadata": { "name": "default", "namespace": "velero" },
            "spec": { "provider": "velero.io/azure", "objectStorage": { "bucket": "backups" } },
        }))
        .await
        .unwrap();
    until(
        "the location is unavailable",
        Duration::from_secs(60),
        async || {
            let locations = velero.cli(&["backup-location", "get"]).await?;
            Ok(locations.contains("Unavailable").then_some(()))
        },
    )
    .await
    .unwrap();

    velero.kill();
    velero.start().await.unwrap();
    assert!(velero.plugins().is_empty(), "{:?}", velero.plugins());
}
