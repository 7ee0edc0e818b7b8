//! A look at what is in a blob server, past the plugin: a small client with the account's key or a token.

use std::{fmt, time::Duration};

use anyhow::{Context as _, Result, ensure};
use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Method, StatusCode};
use reqwest::Response;
use roxmltree::{Document, Node};
use url::{Url, form_urlencoded};

use super::{
    Account, Authority,
    sign::{header, to_sign},
};

const VERSION: &str = "2024-11-04";

/// A client of one account.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    endpoint: String,
    login: Login,
}

#[derive(Clone)]
enum Login {
    Key {
        account: String,
        key: Box<hmac::Key>,
    },
    Token(String),
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.endpoint)
    }
}

/// What HEAD tells of a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Properties {
    /// Bytes.
    pub size: u64,
    /// As sent, with its quotes.
    pub etag: String,
    /// `Content-Type`.
    pub content_type: Option<String>,
}

/// The block list of a blob: IDs (Base64) and sizes, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blocks {
    /// What the blob consists of.
    pub committed: Vec<(String, u64)>,
    /// What was put and not committed.
    pub uncommitted: Vec<(String, u64)>,
}

impl Client {
    /// Signs with the account's first key. The endpoint is `https://HOST:PORT/ACCOUNT`, of the server or of anything
    /// before it.
    pub fn with_key(authority: &Authority, endpoint: &str, account: &Account) -> Result<Self> {
        let key = STANDARD
            .decode(account.key())
            .context("the key is no Base64")?;
        let login = Login::Key {
            account: account.name.clone(),
            key: Box::new(hmac::Key::new(hmac::HMAC_SHA256, &key)),
        };
        Self::new(authority, endpoint, login)
    }

    /// Carries a token.
    pub fn with_token(authority: &Authority, endpoint: &str, token: &str) -> Result<Self> {
        Self::new(authority, endpoint, Login::Token(token.into()))
    }

    fn new(authority: &Authority, endpoint: &str, login: Login) -> Result<Self> {
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured((*authority.client()?).clone())
            // A fault is to be seen, not mended.
            .retry(reqwest::retry::never())
            // Azurite closes an idle connection after 5 s; none is to be met just then.
            .pool_idle_timeout(Duration::from_secs(2))
            .build()?;
        Ok(Self {
            http,
            endpoint: endpoint.trim_end_matches('/').into(),
            login,
        })
    }

    /// Creates a container.
    pub async fn create_container(&self, container: &str) -> Result<()> {
        let (path, query) = (format!("/{container}"), [("restype", "container")]);
        expect(self.request(Method::PUT, &path, &query, &[], "").await?).await?;
        Ok(())
    }

    /// Deletes a container with all that is in it.
    pub async fn delete_container(&self, container: &str) -> Result<()> {
        let (path, query) = (format!("/{container}"), [("restype", "container")]);
        expect(self.request(Method::DELETE, &path, &query, &[], "").await?).await?;
        Ok(())
    }

    /// Writes a block blob in one request; its ETag.
    pub async fn put(
        &self,
        container: &str,
        key: &str,
        body: impl Into<reqwest::Body>,
    ) -> Result<String> {
        let headers = [("x-ms-blob-type", "BlockBlob")];
        let answer = self
            .request(Method::PUT, &path(container, key), &[], &headers, body)
            .await?;
        header(expect(answer).await?.headers(), "etag").context("an answer without an ETag")
    }

    /// Reads a whole blob; none if there is none.
    pub async fn get(&self, container: &str, key: &str) -> Result<Option<Bytes>> {
        match self.open(container, key).await? {
            Some(answer) => Ok(Some(answer.bytes().await?)),
            None => Ok(None),
        }
    }

    /// The same as a stream.
    pub async fn open(&self, container: &str, key: &str) -> Result<Option<Response>> {
        let path = path(container, key);
        found(self.request(Method::GET, &path, &[], &[], "").await?).await
    }

    /// Whether there is such a blob, and what it is.
    pub async fn head(&self, container: &str, key: &str) -> Result<Option<Properties>> {
        let path = path(container, key);
        let answer = found(self.request(Method::HEAD, &path, &[], &[], "").await?).await?;
        let Some(answer) = answer else {
            return Ok(None);
        };
        let headers = answer.headers();
        Ok(Some(Properties {
            size: header(headers, "content-length")
                .context("an answer without a length")?
                .parse()?,
            etag: header(headers, "etag").context("an answer without an ETag")?,
            content_type: header(headers, "content-type"),
        }))
    }

    /// The names of all blobs with that prefix, in the server's order.
    pub async fn list(&self, container: &str, prefix: &str) -> Result<Vec<String>> {
        let path = format!("/{container}");
        let mut names = Vec::new();
        let mut marker = String::new();
        loop {
            let query = [
                ("restype", "container"),
                ("comp", "list"),
                ("prefix", prefix),
                ("marker", &marker),
            ];
            let answer = expect(self.request(Method::GET, &path, &query, &[], "").await?).await?;
            let text = answer.text().await?;
            let document = Document::parse(text.trim_start_matches('\u{feff}'))?;
            let blobs = elements(document.root_element(), "Blob");
            names.extend(blobs.map(|blob| text_of(blob, "Name")));
            marker = text_of(document.root_element(), "NextMarker");
            if marker.is_empty() {
                return Ok(names);
            }
        }
    }

    /// What a blob consists of, and what waits to be committed under its name; none if there is neither.
    pub async fn blocks(&self, container: &str, key: &str) -> Result<Option<Blocks>> {
        let query = [("comp", "blocklist"), ("blocklisttype", "all")];
        let answer = self
            .request(Method::GET, &path(container, key), &query, &[], "")
            .await?;
        let Some(answer) = found(answer).await? else {
            return Ok(None);
        };
        let text = answer.text().await?;
        let document = Document::parse(text.trim_start_matches('\u{feff}'))?;
        let list = |kind| {
            elements(document.root_element(), kind)
                .flat_map(|list| elements(list, "Block"))
                .map(|block| Ok((text_of(block, "Name"), text_of(block, "Size").parse()?)))
                .collect::<Result<_>>()
        };
        Ok(Some(Blocks {
            committed: list("CommittedBlocks")?,
            uncommitted: list("UncommittedBlocks")?,
        }))
    }

    /// Any request. `path` follows the account and is percent-encoded; the query is not.
    pub async fn request(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> Result<Response> {
        let mut url = Url::parse(&format!("{}{path}", self.endpoint))?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let date = jiff::Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT");
        let mut request = self
            .http
            .request(method, url)
            .header("x-ms-version", VERSION)
            .header("x-ms-date", date.to_string());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = body.into();
        let length = body.as_bytes().map(<[u8]>::len);
        if let Some(length) = length {
            request = request.header("content-length", length);
        }
        let mut request = request.body(body).build()?;
        let authorization = match &self.login {
            Login::Token(token) => format!("Bearer {token}"),
            Login::Key { account, key } => {
                let text = to_sign(&request, account);
                let signature = STANDARD.encode(hmac::sign(key, text.as_bytes()));
                format!("SharedKey {account}:{signature}")
            }
        };
        request
            .headers_mut()
            .insert("authorization", authorization.try_into()?);
        Ok(self.http.execute(request).await?)
    }
}

/// The path of a blob, percent-encoded but for its slashes.
fn path(container: &str, key: &str) -> String {
    let encode = |part: &str| {
        form_urlencoded::byte_serialize(part.as_bytes())
            .collect::<String>()
            .replace('+', "%20")
    };
    let key: Vec<_> = key.split('/').map(encode).collect();
    format!("/{container}/{}", key.join("/"))
}

async fn expect(answer: Response) -> Result<Response> {
    let status = answer.status();
    ensure!(
        status.is_success(),
        "{status}, {}: {}",
        header(answer.headers(), "x-ms-error-code").unwrap_or_default(),
        answer.text().await?
    );
    Ok(answer)
}

async fn found(answer: Response) -> Result<Option<Response>> {
    // A missing container is an error, a missing blob is an answer.
    let code = header(answer.headers(), "x-ms-error-code");
    if answer.status() == StatusCode::NOT_FOUND && code.as_deref() == Some("BlobNotFound") {
        return Ok(None);
    }
    expect(answer).await.map(Some)
}

fn elements<'a>(node: Node<'a, 'a>, name: &'static str) -> impl Iterator<Item = Node<'a, 'a>> {
    node.descendants()
        .filter(move |node| node.has_tag_name(name))
}

fn text_of(node: Node<'_, '_>, name: &'static str) -> String {
    let found = node.children().find(|child| child.has_tag_name(name));
    found
        .and_then(|child| child.text())
        .unwrap_or_default()
        .to_owned()
}
