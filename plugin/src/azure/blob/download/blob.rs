//! A blob of Azure.

use std::{error::Error as _, sync::Arc};

use futures::{StreamExt as _, TryStreamExt as _};
use object_store::{GetOptions, GetRange, ObjectStore as _, azure::MicrosoftAzure, path::Path};

use super::{Blob, Opened, Rest};
use crate::{
    azure::{
        answer::causes,
        blob::{Account, BlobError, key},
        failure::Failure,
    },
    velero::Object,
};

pub(super) struct StoredBlob {
    store: Arc<MicrosoftAzure>,
    path: Path,
    resource: String,
}

impl StoredBlob {
    pub(super) fn new(account: &Account, object: &Object) -> Result<Self, BlobError> {
        Ok(Self {
            store: account.container(&object.container)?,
            path: key::to_path(&object.key)?,
            resource: account.wire.resource(&object.container, Some(&object.key)),
        })
    }
}

impl Blob for StoredBlob {
    async fn open(&self, rest: Option<Rest>) -> Result<Opened, Failure> {
        let options = match rest {
            None => GetOptions::default(),
            Some(rest) => GetOptions {
                if_match: Some(rest.version),
                range: Some(GetRange::Bounded(rest.read..rest.size)),
                ..GetOptions::default()
            },
        };
        let opened = self.store.get_opts(&self.path, options).await;
        let opened = opened.map_err(|error| Failure::of_store(&error))?;
        Ok(Opened {
            version: opened.meta.e_tag.clone(),
            size: opened.meta.size,
            parts: opened.into_stream().map_err(|error| broken(&error)).boxed(),
        })
    }

    fn resource(&self) -> String {
        self.resource.clone()
    }
}

/// Without what `object_store` says around it.
fn broken(error: &object_store::Error) -> Failure {
    Failure::Connection(causes(error.source().unwrap_or(error)))
}
