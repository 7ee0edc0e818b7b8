//! Accepts connections, with TLS or without, and keeps them alive until the lab ends.

use std::sync::Arc;

use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::{Closed, Door, serve};
use crate::shared::Shared;

/// Serves `door` until `end`.
pub(crate) async fn listen(
    shared: Arc<Shared>,
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    door: Door,
    end: CancellationToken,
) {
    while let Some(accepted) = end.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, _)) => {
                let connection = connection(Arc::clone(&shared), stream, tls.clone(), door);
                let end = end.clone();
                tokio::spawn(async move { end.run_until_cancelled(connection).await });
            }
            Err(error) => tracing::warn!(%error, "cannot accept a connection"),
        }
    }
}

async fn connection(shared: Arc<Shared>, stream: TcpStream, tls: Option<TlsAcceptor>, door: Door) {
    let _ = stream.set_nodelay(true);
    match tls {
        None => requests(shared, stream, door).await,
        Some(tls) => match tls.accept(stream).await {
            Ok(stream) => requests(shared, stream, door).await,
            Err(error) => tracing::debug!(%error, "TLS handshake failed"),
        },
    }
}

async fn requests(
    shared: Arc<Shared>,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    door: Door,
) {
    // Not by an error: over HTTP/2 hyper would first reset the stream, and a client that is quick
    // would send its next request on a connection that is about to end.
    let closed = CancellationToken::new();
    let close = closed.clone();
    let service = service_fn(move |request: http::Request<Incoming>| {
        let (shared, close) = (Arc::clone(&shared), close.clone());
        async move {
            match serve(shared, door, request).await {
                Ok(response) => Ok::<_, Closed>(response),
                Err(Closed) => {
                    close.cancel();
                    std::future::pending().await
                }
            }
        }
    });
    let builder = Builder::new(TokioExecutor::new());
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    if let Some(Err(error)) = closed.run_until_cancelled(connection).await {
        tracing::debug!(%error, "connection ended");
    }
}
