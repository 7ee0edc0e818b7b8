//! Lets connections in, with TLS or without, and ends them.

use std::{convert::Infallible, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    crowd::{Crowd, Place},
    tls::Tls,
};

const HANDSHAKE: Duration = Duration::from_secs(5);
/// For what is being answered when the door is closed: as long as an API server waits.
const FAREWELL: Duration = Duration::from_secs(10);
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(100);
/// What a connection may send before anybody reads it.
const BUFFER: usize = 64 * 1024;
const WINDOW: u32 = 64 * 1024;
const HEADERS: u32 = 16 * 1024;
/// Requests at once on one connection.
const STREAMS: u32 = 32;
/// Whoever vanishes without a word is noticed within the sum of both.
const PING: Duration = Duration::from_secs(2);
const PONG: Duration = Duration::from_secs(3);

/// What answers requests.
pub(super) trait Answers: Send + Sync + 'static {
    /// The answer to one; the future is dropped when the client goes away.
    fn answer(
        &self,
        request: Request<Incoming>,
        place: &Arc<Place>,
    ) -> impl Future<Output = Response<Full<Bytes>>> + Send;
}

/// Where clients come in.
pub(super) struct Listener {
    pub(super) socket: TcpListener,
    /// Without it plain HTTP is spoken.
    pub(super) tls: Option<Arc<Tls>>,
    /// Connections at once.
    pub(super) most: usize,
}

impl Listener {
    /// Serves until `end`, then brings to its end what is being answered.
    pub(super) async fn serve<A: Answers>(self, answers: Arc<A>, end: CancellationToken) {
        let crowd = Crowd::new(self.most);
        let connections = TaskTracker::new();
        while let Some(accepted) = end.run_until_cancelled(self.socket.accept()).await {
            match accepted {
                Ok((stream, peer)) => match crowd.enter() {
                    Some(place) => {
                        let (tls, answers) = (self.tls.clone(), Arc::clone(&answers));
                        let connection = Connection {
                            peer,
                            place: Arc::new(place),
                            end: end.clone(),
                        };
                        connections.spawn(connection.serve(stream, tls, answers));
                    }
                    None => tracing::warn!(%peer, most = self.most, "too many connections"),
                },
                Err(error) => {
                    tracing::warn!(%error, "a connection cannot be accepted");
                    sleep(PAUSE_AFTER_ERROR).await;
                }
            }
        }
        drop(self.socket);
        connections.close();
        if timeout(FAREWELL, connections.wait()).await.is_err() {
            crowd.disperse();
            connections.wait().await;
        }
    }
}

struct Connection {
    peer: SocketAddr,
    place: Arc<Place>,
    end: CancellationToken,
}

impl Connection {
    async fn serve<A: Answers>(self, stream: TcpStream, tls: Option<Arc<Tls>>, answers: Arc<A>) {
        let peer = self.peer;
        let place = Arc::clone(&self.place);
        tokio::select! {
            failed = self.run(stream, tls, answers) => if let Some(reason) = failed {
                // Port scanners and probes do this all day.
                tracing::debug!(%peer, reason, "a connection broke off");
            },
            reason = place.outstays() => tracing::debug!(%peer, reason, "a connection is closed"),
        }
    }

    async fn run<A: Answers>(
        self,
        stream: TcpStream,
        tls: Option<Arc<Tls>>,
        answers: Arc<A>,
    ) -> Option<String> {
        // An answer is small and awaited.
        if let Err(error) = stream.set_nodelay(true) {
            return Some(error.to_string());
        }
        let Some(tls) = tls else {
            return self.requests(stream, answers).await;
        };
        let Some(config) = tls.current() else {
            return Some("there is no certificate yet".to_owned());
        };
        match timeout(HANDSHAKE, TlsAcceptor::from(config).accept(stream)).await {
            Ok(Ok(stream)) => self.requests(stream, answers).await,
            Ok(Err(error)) => Some(format!("no TLS: {error}")),
            Err(_) => Some(format!("no TLS within {HANDSHAKE:?}")),
        }
    }

    async fn requests<A: Answers>(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        answers: Arc<A>,
    ) -> Option<String> {
        let place = self.place;
        let service = service_fn(move |request| {
            let (answers, place) = (Arc::clone(&answers), Arc::clone(&place));
            async move { Ok::<_, Infallible>(answers.answer(request, &place).await) }
        });
        let mut builder = Builder::new(TokioExecutor::new());
        // The crowd ends those that are slow.
        let http1 = &mut builder.http1();
        http1.header_read_timeout(None).max_buf_size(BUFFER);
        let http2 = &mut builder.http2();
        http2.timer(TokioTimer::new());
        http2.keep_alive_interval(PING).keep_alive_timeout(PONG);
        http2.max_concurrent_streams(STREAMS);
        http2.max_header_list_size(HEADERS);
        http2.initial_stream_window_size(WINDOW);
        http2.initial_connection_window_size(WINDOW);
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.end.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        ended.err().map(|error| error.to_string())
    }
}
