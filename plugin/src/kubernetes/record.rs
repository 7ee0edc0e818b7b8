//! What Velero has on record of a backup's snapshots. The record is a file in the object store, whichever that is: Velero
//! answers a DownloadRequest with a signed URL of it.

use std::{io::Read as _, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use flate2::read::GzDecoder;
use kube::{
    Api, Client, ResourceExt as _,
    api::{ApiResource, DeleteParams, DynamicObject, PostParams},
    core::GroupVersionKind,
};
use rustls::pki_types::CertificateDer;
use serde::Deserialize;
use serde_json::json;
use tokio::time::{sleep, timeout};

use super::patiently;
use crate::trust;

/// For Velero to answer.
const ANSWER: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(200);
const DOWNLOAD: Duration = Duration::from_secs(30);
/// Unpacked. A snapshot takes less than a KiB.
const LARGEST: u64 = 64 << 20;

/// A snapshot on record, by the names of pkg/volume/snapshot.go.
#[derive(Deserialize)]
struct Recorded {
    status: RecordedStatus,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RecordedStatus {
    #[serde(default, rename = "providerSnapshotID")]
    id: String,
    #[serde(default)]
    phase: String,
}

/// The IDs of the snapshots that a backup has.
pub(super) async fn read(
    client: &Client,
    namespace: &str,
    backup: &DynamicObject,
) -> Result<Vec<String>, String> {
    let resource = resource("DownloadRequest");
    let requests: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let target = json!({ "kind": "BackupVolumeSnapshots", "name": backup.name_any() });
    let mut request =
        DynamicObject::new("", &resource).data(json!({ "spec": { "target": target } }));
    request.metadata.name = None;
    request.metadata.generate_name = Some("stillpoint-".to_owned());
    let made = patiently(requests.create(&PostParams::default(), &request)).await?;
    let name = made.name_any();
    let url = timeout(ANSWER, signed_url(&requests, &name)).await;
    if let Err(reason) = patiently(requests.delete(&name, &DeleteParams::default())).await {
        tracing::debug!(
            name,
            reason,
            "the DownloadRequest stays until Velero deletes it"
        );
    }
    let url = url.map_err(|_| format!("Velero gave no URL of it within {ANSWER:?}"))??;
    let location = backup.data["spec"]["storageLocation"].as_str();
    let trusted = trusted(client, namespace, location.unwrap_or_default()).await?;
    parse(&download(&url, &trusted).await?)
}

/// Of Velero's objects.
pub(super) fn resource(kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("velero.io", "v1", kind))
}

async fn signed_url(requests: &Api<DynamicObject>, name: &str) -> Result<String, String> {
    loop {
        let request = patiently(requests.get(name)).await?;
        match request.data["status"]["downloadURL"].as_str() {
            Some(url) if !url.is_empty() => return Ok(url.to_owned()),
            _ => sleep(POLL).await,
        }
    }
}

/// The certificate authorities that the backup's location names for its object store.
async fn trusted(
    client: &Client,
    namespace: &str,
    location: &str,
) -> Result<Vec<CertificateDer<'static>>, String> {
    let resource = resource("BackupStorageLocation");
    let locations: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let location = patiently(locations.get(location)).await?;
    let Some(encoded) = location.data["spec"]["objectStorage"]["caCert"].as_str() else {
        return Ok(Vec::new());
    };
    let pem = STANDARD.decode(encoded).map_err(|error| error.to_string());
    let parsed = pem.and_then(|pem| trust::own_roots(&pem));
    parsed.map_err(|error| format!("caCert of {} cannot be read: {error}", location.name_any()))
}

/// The URL is a secret, which errors would show.
async fn download(url: &str, trusted: &[CertificateDer<'static>]) -> Result<Vec<u8>, String> {
    let described =
        |error: reqwest::Error| format!("{:#}", anyhow::Error::new(error.without_url()));
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(trust::client_config(trusted)?)
        .timeout(DOWNLOAD)
        .build()
        .map_err(described)?;
    let answer = client.get(url).send().await.map_err(described)?;
    let answer = answer.error_for_status().map_err(described)?;
    Ok(answer.bytes().await.map_err(described)?.to_vec())
}

fn parse(packed: &[u8]) -> Result<Vec<String>, String> {
    let unpacked = GzDecoder::new(packed).take(LARGEST);
    let recorded: Vec<Recorded> =
        serde_json::from_reader(unpacked).map_err(|error| format!("it is no record: {error}"))?;
    let taken = recorded
        .into_iter()
        .map(|one| one.status)
        .filter(|status| status.phase == "Completed");
    Ok(taken.map(|status| status.id).collect())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn packed(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn only_what_was_taken_is_on_record() {
        let text = json!([
            {
                "spec": { "backupName": "b", "backupUID": "u", "providerVolumeID": "v1" },
                "status": { "providerSnapshotID": "s1", "phase": "Completed" },
            },
            { "spec": {}, "status": { "phase": "Failed" } },
            { "spec": {}, "status": { "providerSnapshotID": "s2", "phase": "Completed" } },
        ]);
        assert_eq!(parse(&packed(&text.to_string())).unwrap(), ["s1", "s2"]);
        assert!(parse(&packed("[]")).unwrap().is_empty());
    }

    #[test]
    fn half_a_record_is_none() {
        let whole = packed(r#"[{"status":{"providerSnapshotID":"s1","phase":"Completed"}}]"#);
        assert_eq!(parse(&whole).unwrap(), ["s1"]);
        for end in 0..whole.len() - 8 {
            parse(&whole[..end]).unwrap_err();
        }
        parse(&packed("{}")).unwrap_err();
        parse(b"<Error>").unwrap_err();
    }
}
