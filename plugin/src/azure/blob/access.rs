//! With which key or token a storage account is asked.

use std::sync::Arc;

use object_store::azure::AzureCredential;

use crate::azure::failure::Failure;

/// See the module.
pub(super) struct Access(pub(super) Arc<AzureCredential>);

impl Access {
    /// What to authorise the next request with.
    pub(super) async fn credential(&self) -> Result<Arc<AzureCredential>, Failure> {
        Ok(self.0.clone())
    }
}
