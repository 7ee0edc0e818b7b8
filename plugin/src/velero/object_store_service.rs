//! The ObjectStore service: checks names, decodes, runs the use case as a call, encodes.

use std::time::Duration;

use bytes::Bytes;
use futures::{
    Stream, StreamExt as _, TryStreamExt as _,
    stream::{self, BoxStream},
};
use stillpoint_proto::velero::{self as wire, object_store_server::ObjectStore};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::{
    calling::Calling,
    object_store::{Body, Broken, Object, Store},
    open::Open,
    request::RequestError,
};

/// Velero's client takes messages of any size; larger ones than its own 16 KiB cost it less. A connection to Azure
/// seldom hands out more at once.
const MESSAGE: usize = 256 << 10;

pub(super) struct ObjectStoreService<S: Open>(pub(super) Calling<S>);

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl<S> ObjectStore for ObjectStoreService<S>
where
    S: Open,
    S::Opened: Store,
    <S::Opened as Store>::Error: std::error::Error + Send + Sync + 'static,
    Status: From<S::Error> + From<<S::Opened as Store>::Error>,
{
    type GetObjectStream = BoxStream<'static, Result<wire::Bytes, Status>>;

    async fn init(&self, request: Request<wire::ObjectStoreInitRequest>) -> Answer<wire::Empty> {
        let wire::ObjectStoreInitRequest { plugin, config } = request.into_inner();
        self.0.init(&plugin, config).await?;
        Ok(Response::new(wire::Empty {}))
    }

    async fn put_object(
        &self,
        request: Request<Streaming<wire::PutObjectRequest>>,
    ) -> Answer<wire::Empty> {
        let mut messages = request.into_inner();
        // Velero's client sends no message at all for an empty object, so its name never comes.
        let first = messages.message().await?.ok_or(RequestError::NoObject)?;
        let object = Object {
            container: first.bucket,
            key: first.key,
        };
        self.0
            .on(&first.plugin, |store, cancel| async move {
                let mut body = body(first.body, messages);
                let put = store.put(object.clone(), &mut body, cancel.clone()).await;
                if let Err(error) = &put {
                    let Object { container, key } = &object;
                    tracing::warn!(%container, %key, %error, "object not written");
                    // Velero shows no more than "EOF" of an error that comes while it is still sending.
                    drain(body, cancel).await;
                }
                put
            })
            .await?;
        Ok(Response::new(wire::Empty {}))
    }

    async fn object_exists(
        &self,
        request: Request<wire::ObjectExistsRequest>,
    ) -> Answer<wire::ObjectExistsResponse> {
        let wire::ObjectExistsRequest {
            plugin,
            bucket: container,
            key,
        } = request.into_inner();
        let object = Object { container, key };
        let exists = self
            .0
            .on(&plugin, |store, cancel| async move {
                store.exists(object, cancel).await
            })
            .await?;
        Ok(Response::new(wire::ObjectExistsResponse { exists }))
    }

    async fn get_object(
        &self,
        request: Request<wire::GetObjectRequest>,
    ) -> Answer<Self::GetObjectStream> {
        let wire::GetObjectRequest {
            plugin,
            bucket: container,
            key,
        } = request.into_inner();
        let object = Object { container, key };
        let body = self
            .0
            .on(&plugin, |store, cancel| async move {
                store.get(object, cancel).await
            })
            .await?;
        Ok(Response::new(in_messages(body).boxed()))
    }

    async fn list_common_prefixes(
        &self,
        request: Request<wire::ListCommonPrefixesRequest>,
    ) -> Answer<wire::ListCommonPrefixesResponse> {
        let wire::ListCommonPrefixesRequest {
            plugin,
            bucket: container,
            delimiter,
            prefix,
        } = request.into_inner();
        let prefixes = self
            .0
            .on(&plugin, |store, cancel| async move {
                store
                    .common_prefixes(container, prefix, delimiter, cancel)
                    .await
            })
            .await?;
        Ok(Response::new(wire::ListCommonPrefixesResponse { prefixes }))
    }

    async fn list_objects(
        &self,
        request: Request<wire::ListObjectsRequest>,
    ) -> Answer<wire::ListObjectsResponse> {
        let wire::ListObjectsRequest {
            plugin,
            bucket: container,
            prefix,
        } = request.into_inner();
        let keys = self
            .0
            .on(&plugin, |store, cancel| async move {
                store.objects(container, prefix, cancel).await
            })
            .await?;
        Ok(Response::new(wire::ListObjectsResponse { keys }))
    }

    async fn delete_object(
        &self,
        request: Request<wire::DeleteObjectRequest>,
    ) -> Answer<wire::Empty> {
        let wire::DeleteObjectRequest {
            plugin,
            bucket: container,
            key,
        } = request.into_inner();
        let object = Object { container, key };
        self.0
            .on(&plugin, |store, cancel| async move {
                store.delete(object, cancel).await
            })
            .await?;
        Ok(Response::new(wire::Empty {}))
    }

    async fn create_signed_url(
        &self,
        request: Request<wire::CreateSignedUrlRequest>,
    ) -> Answer<wire::CreateSignedUrlResponse> {
        let wire::CreateSignedUrlRequest {
            plugin,
            bucket: container,
            key,
            ttl,
        } = request.into_inner();
        let object = Object { container, key };
        let lifetime = u64::try_from(ttl)
            .ok()
            .filter(|nanoseconds| *nanoseconds > 0)
            .map(Duration::from_nanos)
            .ok_or(RequestError::Lifetime(ttl))?;
        let url = self
            .0
            .on(&plugin, |store, cancel| async move {
                store.signed_url(object, lifetime, cancel).await
            })
            .await?;
        Ok(Response::new(wire::CreateSignedUrlResponse { url }))
    }
}

fn body(first: Bytes, messages: Streaming<wire::PutObjectRequest>) -> Body<Broken> {
    let rest = messages
        .map_ok(|message| message.body)
        .map_err(|status| Broken(status.message().to_owned()));
    stream::once(async { Ok(first) }).chain(rest).boxed()
}

async fn drain(mut body: Body<Broken>, cancel: CancellationToken) {
    let rest = async { while let Some(Ok(_)) = body.next().await {} };
    tokio::select! {
        () = cancel.cancelled() => {}
        () = rest => {}
    }
}

/// Copies nothing: a part is handed on in slices.
fn in_messages<E>(body: Body<E>) -> impl Stream<Item = Result<wire::Bytes, Status>>
where
    Status: From<E>,
{
    stream::try_unfold((body, Bytes::new()), |(mut body, mut rest)| async move {
        while rest.is_empty() {
            match body.try_next().await? {
                Some(part) => rest = part,
                None => return Ok(None),
            }
        }
        let data = rest.split_to(rest.len().min(MESSAGE));
        Ok(Some((wire::Bytes { data }, (body, rest))))
    })
}
