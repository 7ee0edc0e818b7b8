//! Listing blobs, as Azure names them.

use super::{Account, BlobError};

pub(super) async fn common_prefixes(
    account: &Account,
    container: &str,
    prefix: &str,
    delimiter: &str,
) -> Result<Vec<String>, BlobError> {
    let _ = (account, container, prefix, delimiter);
    Err(BlobError::Cancelled)
}

pub(super) async fn objects(
    account: &Account,
    container: &str,
    prefix: &str,
) -> Result<Vec<String>, BlobError> {
    let _ = (account, container, prefix);
    Err(BlobError::Cancelled)
}
