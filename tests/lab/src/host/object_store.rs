//! A plugin's ObjectStore, used as Velero uses it.

use std::{io, time::Duration};

use bytes::{Bytes, BytesMut};
use futures::{FutureExt as _, Stream, StreamExt as _, TryStreamExt as _, future::Either};
use stillpoint_proto::velero::{self as wire, object_store_client::ObjectStoreClient};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    sync::mpsc::{self, Sender},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, transport::Channel};

use super::plugin::strings;

/// What Velero's client reads at once from a body, and sends in one message.
const MESSAGE: usize = 16 << 10;

/// An ObjectStore.
#[derive(Clone, Debug)]
pub struct ObjectStore {
    name: String,
    client: ObjectStoreClient<Channel>,
}

/// What every call returns.
type Answer<T> = Result<T, Status>;

#[expect(clippy::missing_errors_doc, reason = "all as the plugin answers")]
impl ObjectStore {
    /// The one that is registered as `name` at the other end of `channel`.
    pub fn new(name: &str, channel: Channel) -> Self {
        Self {
            name: name.to_owned(),
            client: ObjectStoreClient::new(channel).max_decoding_message_size(usize::MAX),
        }
    }

    /// With the config of a BackupStorageLocation.
    pub async fn init(&self, config: &[(&str, &str)]) -> Answer<()> {
        let request = wire::ObjectStoreInitRequest {
            plugin: self.name.clone(),
            config: strings(config),
        };
        self.client.clone().init(request).await?;
        Ok(())
    }

    /// Writes an object. When `body` fails the call is cancelled, which Velero does not do: its client then ends the
    /// stream as if it were complete.
    pub async fn put(
        &self,
        bucket: &str,
        key: &str,
        mut body: impl AsyncRead + Send + Unpin,
    ) -> Answer<()> {
        let (sender, messages) = mpsc::channel(1);
        let mut client = self.client.clone();
        let call = client.put_object(ReceiverStream::new(messages)).boxed();
        let sending = self.send(bucket, key, &mut body, sender).boxed();
        match futures::future::select(call, sending).await {
            Either::Left((answer, _)) => answer.map(|_| ()),
            Either::Right((Ok(()), call)) => call.await.map(|_| ()),
            Either::Right((Err((error, sender)), call)) => {
                // The stream has no end while the sender lives, so the call is cancelled.
                drop(call);
                drop(sender);
                Err(Status::cancelled(error.to_string()))
            }
        }
    }

    async fn send(
        &self,
        bucket: &str,
        key: &str,
        body: &mut (impl AsyncRead + Send + Unpin),
        sender: Sender<wire::PutObjectRequest>,
    ) -> Result<(), (io::Error, Sender<wire::PutObjectRequest>)> {
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(MESSAGE);
            match (&mut *body)
                .take(MESSAGE as u64)
                .read_buf(&mut buffer)
                .await
            {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) => return Err((error, sender)),
            }
            let message = wire::PutObjectRequest {
                plugin: self.name.clone(),
                bucket: bucket.to_owned(),
                key: key.to_owned(),
                body: buffer.split().freeze(),
            };
            // If the call has ended, its answer says why.
            if sender.send(message).await.is_err() {
                return Ok(());
            }
        }
    }

    /// Whether it is there.
    pub async fn exists(&self, bucket: &str, key: &str) -> Answer<bool> {
        let request = wire::ObjectExistsRequest {
            plugin: self.name.clone(),
            bucket: bucket.to_owned(),
            key: key.to_owned(),
        };
        let answer = self.client.clone().object_exists(request).await?;
        Ok(answer.into_inner().exists)
    }

    /// An object's parts as they come; dropped, the call is cancelled.
    pub async fn get(
        &self,
        bucket: &str,
        key: &str,
    ) -> Answer<impl Stream<Item = Answer<Bytes>> + Send + Unpin + use<>> {
        let request = wire::GetObjectRequest {
            plugin: self.name.clone(),
            bucket: bucket.to_owned(),
            key: key.to_owned(),
        };
        let parts = self.client.clone().get_object(request).await?;
        Ok(parts.into_inner().map_ok(|part| part.data))
    }

    /// A whole object.
    pub async fn read(&self, bucket: &str, key: &str) -> Answer<Vec<u8>> {
        let mut parts = self.get(bucket, key).await?;
        let mut whole = Vec::new();
        while let Some(part) = parts.next().await {
            whole.extend_from_slice(&part?);
        }
        Ok(whole)
    }

    /// The beginnings of keys up to and with the first `delimiter` after `prefix`.
    pub async fn common_prefixes(
        &self,
        bucket: &str,
        prefix: &str,
        delimiter: &str,
    ) -> Answer<Vec<String>> {
        let request = wire::ListCommonPrefixesRequest {
            plugin: self.name.clone(),
            bucket: bucket.to_owned(),
            delimiter: delimiter.to_owned(),
            prefix: prefix.to_owned(),
        };
        let answer = self.client.clone().list_common_prefixes(request).await?;
        Ok(answer.into_inner().prefixes)
    }

    /// All keys that begin with `prefix`.
    pub async fn objects(&self, bucket: &str, prefix: &str) -> Answer<Vec<String>> {
        let request = wire::ListObjectsRequest {
            plugin: self.name.clone(),
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
        };
        let answer = self.client.clone().list_objects(request).await?;
        Ok(answer.into_inner().keys)
    }

    /// Deletes an object.
    pub async fn delete(&self, bucket: &str, key: &str) -> Answer<()> {
        let request = wire::DeleteObjectRequest {
            plugin: self.name.clone(),
            bucket: bucket.to_owned(),
            key: key.to_owned(),
        };
        self.client.clone().delete_object(request).await?;
        Ok(())
    }

    /// A URL that is good for `lifetime`.
    pub async fn signed_url(&self, bucket: &str, key: &str, lifetime: Duration) -> Answer<String> {
        let request = wire::CreateSignedUrlRequest {
            plugin: self.name.clone(),
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            ttl: i64::try_from(lifetime.as_nanos()).unwrap_or(i64::MAX),
        };
        let answer = self.client.clone().create_signed_url(request).await?;
        Ok(answer.into_inner().url)
    }
}
