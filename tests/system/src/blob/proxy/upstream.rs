//! The connection to the server that belongs to a client's.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::http1::{SendRequest, handshake},
};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::{net::TcpStream, task::AbortHandle};
use tokio_rustls::TlsConnector;

use super::{Shared, body::Passing};

/// Azurite closes an idle connection after 5 s; a request that crosses with that would look like a fault of ours.
const IDLE: Duration = Duration::from_secs(2);

/// Opened at the first request, and again when it was idle or the server closed it.
#[derive(Debug, Default)]
pub(super) struct Upstream(Option<Open>);

#[derive(Debug)]
struct Open {
    requests: SendRequest<Passing>,
    connection: AbortHandle,
    used: Instant,
}

impl Upstream {
    pub(super) async fn pass(
        &mut self,
        shared: &Shared,
        request: Request<Passing>,
    ) -> Result<Response<Incoming>> {
        let usable = match self.0.take() {
            Some(mut open) if open.used.elapsed() < IDLE => {
                open.requests.ready().await.is_ok().then_some(open)
            }
            _ => None,
        };
        let mut open = match usable {
            Some(open) => open,
            None => Open::new(shared).await?,
        };
        let answer = open.requests.send_request(request).await;
        open.used = Instant::now();
        self.0 = Some(open);
        Ok(answer?)
    }
}

impl Open {
    async fn new(shared: &Shared) -> Result<Self> {
        let stream = TcpStream::connect(shared.target)
            .await
            .with_context(|| format!("cannot reach {}", shared.target))?;
        stream.set_nodelay(true)?;
        let name = ServerName::from(shared.target.ip());
        let connector = TlsConnector::from(shared.tls.clone());
        let stream = connector.connect(name, stream).await?;
        let (requests, connection) = handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(Self {
            requests,
            connection: connection.abort_handle(),
            used: Instant::now(),
        })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.connection.abort();
    }
}
