//! One HTTPS client for everything that is asked of Azure.
//!
//! The system's roots (or `SSL_CERT_FILE`) and the location's `caCert` are trusted; they are loaded at the
//! first request. HTTP/2 where the server speaks it, with pings, so that a dead connection is noticed.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Method};
use rustls::pki_types::CertificateDer;
use tokio::time::Instant;
use url::Url;

use super::{ConnectError, failure::Failure};
use crate::trust;

const CONNECT: Duration = Duration::from_secs(10);
/// Below the four minutes after which Azure's load balancers forget a silent connection.
const IDLE: Duration = Duration::from_secs(90);
const PING: Duration = Duration::from_secs(10);
/// Between two replacements of the client after a hang.
const RENEWAL: Duration = Duration::from_secs(2);

/// An answer, whatever its status.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// Those who trust the same certificates share them, and connections.
static SHARED: LazyLock<Mutex<HashMap<Option<String>, Arc<Transport>>>> =
    LazyLock::new(Mutex::default);

/// The client. Clones of it share connections.
pub(super) struct Transport {
    own_roots: Vec<CertificateDer<'static>>,
    tls: OnceLock<Result<rustls::ClientConfig, String>>,
    client: Replaceable,
    local: OnceLock<Result<reqwest::Client, String>>,
    storage: Replaceable,
    answered: Mutex<Option<Instant>>,
}

/// A client that is replaced after a hang: the next request opens a connection of its own instead of waiting on
/// one that is dead.
#[derive(Default)]
struct Replaceable(Mutex<Option<(reqwest::Client, Instant)>>);

impl Replaceable {
    fn get(
        &self,
        make: impl FnOnce() -> Result<reqwest::Client, Failure>,
    ) -> Result<reqwest::Client, Failure> {
        let mut client = lock(&self.0);
        if let Some((client, _)) = client.as_ref() {
            return Ok(client.clone());
        }
        let made = make()?;
        *client = Some((made.clone(), Instant::now()));
        Ok(made)
    }

    fn leave(&self) {
        let mut client = lock(&self.0);
        if client
            .as_ref()
            .is_some_and(|(_, made)| made.elapsed() >= RENEWAL)
        {
            *client = None;
        }
    }
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Transport")
    }
}

impl Transport {
    /// The process's one that trusts the certificates in `ca_cert`, PEM, besides the system's.
    pub(super) fn shared(ca_cert: Option<&str>) -> Result<Arc<Self>, ConnectError> {
        let mut shared = lock(&SHARED);
        if let Some(known) = shared.get(&ca_cert.map(str::to_owned)) {
            return Ok(Arc::clone(known));
        }
        let made = Arc::new(Self::new(ca_cert)?);
        shared.insert(ca_cert.map(str::to_owned), Arc::clone(&made));
        Ok(made)
    }

    /// Trusts the certificates in `ca_cert`, PEM, besides the system's.
    pub(super) fn new(ca_cert: Option<&str>) -> Result<Self, ConnectError> {
        let own_roots = match ca_cert {
            None => Vec::new(),
            Some(pem) => trust::own_roots(pem.as_bytes()).map_err(ConnectError::CaCert)?,
        };
        Ok(Self {
            own_roots,
            tls: OnceLock::new(),
            client: Replaceable::default(),
            local: OnceLock::new(),
            storage: Replaceable::default(),
            answered: Mutex::default(),
        })
    }

    /// Sends one request and reads its whole answer.
    pub(super) async fn send(
        &self,
        method: Method,
        url: Url,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Answer, Failure> {
        let client = if is_link_local(&url) {
            self.local()?
        } else {
            self.client()?
        };
        let request = client.request(method, url).headers(headers).body(body);
        let mut answer = request.send().await.map_err(Failure::of_request)?;
        let (status, headers) = (
            answer.status().as_u16(),
            std::mem::take(answer.headers_mut()),
        );
        let body = answer.bytes().await.map_err(Failure::of_request)?;
        *lock(&self.answered) = Some(Instant::now());
        Ok(Answer {
            status,
            headers,
            body,
        })
    }

    /// Since the last answer; a connection may have gone cold meanwhile.
    pub(super) fn silence(&self) -> Option<Duration> {
        lock(&self.answered).map(|at| at.elapsed())
    }

    /// After a hang of the resource manager or the login.
    pub(super) fn leave_connections(&self) {
        self.client.leave();
    }

    /// After a hang of Storage. What is under way there keeps its connection.
    pub(super) fn leave_storage(&self) {
        self.storage.leave();
    }

    fn client(&self) -> Result<reqwest::Client, Failure> {
        self.client.get(|| {
            let tls = self.tls().map_err(Failure::Connection)?.clone();
            builder()
                .tls_backend_preconfigured(tls)
                .http2_keep_alive_interval(PING)
                .http2_keep_alive_timeout(PING)
                .build()
                .map_err(Failure::of_request)
        })
    }

    /// The node's own metadata service: plain http, never through a proxy.
    fn local(&self) -> Result<reqwest::Client, Failure> {
        self.local
            .get_or_init(|| {
                let tls = self.tls()?.clone();
                builder()
                    .tls_backend_preconfigured(tls)
                    .no_proxy()
                    .build()
                    .map_err(|error| error.to_string())
            })
            .clone()
            .map_err(Failure::Connection)
    }

    /// For blobs: HTTP/1.1, which is what Storage speaks, one connection for each block in flight.
    pub(super) fn storage(&self) -> Result<reqwest::Client, Failure> {
        self.storage.get(|| {
            let mut tls = self.tls().map_err(Failure::Connection)?.clone();
            tls.alpn_protocols = vec![b"http/1.1".to_vec()];
            builder()
                .tls_backend_preconfigured(tls)
                .http1_only()
                .build()
                .map_err(Failure::of_request)
        })
    }

    fn tls(&self) -> Result<&rustls::ClientConfig, String> {
        self.tls
            .get_or_init(|| trust::client_config(&self.own_roots))
            .as_ref()
            .map_err(Clone::clone)
    }
}

fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .connect_timeout(CONNECT)
        .pool_idle_timeout(IDLE)
        .tcp_nodelay(true)
        // ARM does not redirect; a token must not follow one.
        .redirect(reqwest::redirect::Policy::none())
}

fn is_link_local(url: &Url) -> bool {
    matches!(url.host(), Some(url::Host::Ipv4(ip)) if ip.is_link_local())
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
