//! An account that answers as a test says, request by request.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex},
};

use aws_lc_rs::hmac;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    net::TcpListener,
    task::{AbortHandle, JoinSet},
};
use url::Url;

pub(super) const ACCOUNT: &str = "velero0";

/// What the account does with a request.
pub(super) enum Reply {
    /// Status, code, further headers.
    Answer(u16, &'static str, &'static [(&'static str, &'static str)]),
    Close,
    Hang,
}

pub(super) const OK: Reply = Reply::Answer(200, "", &[]);

/// A request.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) connection: usize,
    method: String,
    pub(super) target: String,
    headers: HashMap<String, String>,
}

type Script = dyn Fn(usize, &Seen) -> Reply + Send + Sync;

/// Ends with all of its connections when dropped.
pub(super) struct Server {
    pub(super) url: Url,
    /// PEM; what it shows over https.
    pub(super) certificate: String,
    shared: Arc<Shared>,
    task: AbortHandle,
}

struct Shared {
    seen: Mutex<Vec<Seen>>,
    script: Box<Script>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Seen {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub(super) fn is_by_token(&self) -> bool {
        self.header("authorization").starts_with("Bearer ")
    }

    /// By Microsoft's rules, for a request without a query, a body or headers of its own.
    pub(super) fn is_signed_by(&self, key: &str) -> bool {
        let text = format!(
            "{}\n\n\n\n\n\n{}\n\n\n\n\n\nx-ms-version:{}\n/{ACCOUNT}{}",
            self.method,
            self.header("date"),
            self.header("x-ms-version"),
            self.target
        );
        let key = hmac::Key::new(hmac::HMAC_SHA256, &BASE64_STANDARD.decode(key).unwrap());
        let signature = BASE64_STANDARD.encode(hmac::sign(&key, text.as_bytes()));
        self.header("authorization") == format!("SharedKey {ACCOUNT}:{signature}")
    }
}

impl Server {
    pub(super) async fn plain(
        script: impl Fn(usize, &Seen) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::start(false, Box::new(script)).await
    }

    pub(super) async fn https(
        script: impl Fn(usize, &Seen) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::start(true, Box::new(script)).await
    }

    async fn start(https: bool, script: Box<Script>) -> Self {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let acceptor = https.then(|| acceptor(&made));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let scheme = if https { "https" } else { "http" };
        let shared = Arc::new(Shared {
            seen: Mutex::default(),
            script,
        });
        let of_task = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            for connection in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                let (shared, acceptor) = (Arc::clone(&of_task), acceptor.clone());
                connections.spawn(async move {
                    match acceptor {
                        None => serve(stream, connection, &shared).await,
                        Some(acceptor) => {
                            serve(acceptor.accept(stream).await?, connection, &shared).await
                        }
                    }
                });
            }
        });
        Self {
            url: format!("{scheme}://{address}").parse().unwrap(),
            certificate: made.cert.pem(),
            shared,
            task: task.abort_handle(),
        }
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }
}

fn acceptor(made: &rcgen::CertifiedKey<rcgen::KeyPair>) -> tokio_rustls::TlsAcceptor {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap();
    Arc::new(config).into()
}

async fn serve<S>(stream: S, connection: usize, shared: &Shared) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut stream = BufReader::new(stream);
    while let Some(seen) = read(&mut stream, connection).await? {
        let reply = {
            let mut all = shared.seen.lock().unwrap();
            all.push(seen.clone());
            (shared.script)(all.len() - 1, &seen)
        };
        let (status, code, headers) = match reply {
            Reply::Answer(status, code, headers) => (status, code, headers),
            Reply::Close => return Ok(()),
            Reply::Hang => std::future::pending().await,
        };
        let mut head = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n");
        for (name, value) in headers.iter().chain(&[("x-ms-error-code", code)]) {
            if !value.is_empty() {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        stream.write_all(format!("{head}\r\n").as_bytes()).await?;
        stream.flush().await?;
    }
    Ok(())
}

/// `None`: the client hung up.
async fn read<S>(stream: &mut BufReader<S>, connection: usize) -> io::Result<Option<Seen>>
where
    S: AsyncRead + Unpin,
{
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let headers: HashMap<_, _> = lines[1..]
        .iter()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers
        .get("content-length")
        .map_or(0, |length| length.parse().unwrap());
    stream.read_exact(&mut vec![0; length]).await?;
    let mut words = lines[0].split(' ');
    let mut word = || words.next().unwrap().to_owned();
    Ok(Some(Seen {
        connection,
        method: word(),
        target: word(),
        headers,
    }))
}
