//! The storage account, as a BackupStorageLocation needs it.

use std::{collections::HashMap, time::Duration};

use tokio_util::sync::CancellationToken;

use super::report::Report;
use crate::{
    azure::blob,
    config::BackupSettings,
    error,
    velero::{Object, Store as _},
};

const LIFETIME: Duration = Duration::from_secs(60);

pub(super) async fn examine(
    report: &mut Report,
    settings: &BackupSettings,
    config: &HashMap<String, String>,
) {
    let cancel = CancellationToken::new();
    let account = match blob::open(settings, &cancel).await {
        Ok(account) => account,
        Err(error) => {
            let remedy = "mend the credentials, or what the location says of the account";
            report.wrong("storage account", error::report(&error), remedy);
            return;
        }
    };
    let name = &settings.account;
    report.good(
        "storage account",
        format!("{name}: there is a key or a token"),
    );
    let Some(bucket) = config.get("bucket") else {
        let remedy = "hand over the whole BackupStorageLocation, or `bucket=CONTAINER`";
        report.warn("container", "no `bucket` is named", remedy);
        return;
    };
    let prefix = config.get("prefix").map(String::as_str).unwrap_or_default();
    let prefix = match prefix.trim_matches('/') {
        "" => String::new(),
        prefix => format!("{prefix}/"),
    };
    let listed =
        account.common_prefixes(bucket.clone(), prefix.clone(), "/".into(), cancel.clone());
    match listed.await {
        Ok(_) => report.good("container", format!("{bucket} can be listed")),
        Err(error) => {
            report.wrong("container", error::report(&error), "");
            return;
        }
    }
    let object = Object {
        container: bucket.clone(),
        key: format!(
            "{prefix}backups/stillpoint-doctor-{}",
            uuid::Uuid::new_v4().simple()
        ),
    };
    // There is none of that name: only the right is tried.
    match account.delete(object.clone(), cancel.clone()).await {
        Ok(()) => report.good("blobs", "may be deleted, so written too"),
        Err(error) => report.wrong(
            "blobs",
            error::report(&error),
            "give Velero's identity Storage Blob Data Contributor on the account",
        ),
    }
    match account.signed_url(object, LIFETIME, cancel).await {
        Ok(_) => report.good("signed URLs", "can be made, for `velero backup logs`"),
        Err(error) => report.wrong(
            "signed URLs",
            error::report(&error),
            "give Velero's identity Storage Blob Data Contributor on the account, not only on the container",
        ),
    }
}
