//! Faults on demand: the nth request that matches meets one.

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};

/// A fault for requests that match; once, unless told otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    action: Action,
    method: Option<Method>,
    path: String,
    query: String,
    skip: u32,
    times: u32,
}

impl Fault {
    /// For the next request, whatever it is.
    pub fn new(action: Action) -> Self {
        Self {
            action,
            method: None,
            path: String::new(),
            query: String::new(),
            skip: 0,
            times: 1,
        }
    }

    /// Only for this method.
    pub fn method(self, method: Method) -> Self {
        Self {
            method: Some(method),
            ..self
        }
    }

    /// Only if this is part of the path, as sent (percent-encoded).
    pub fn path(self, part: &str) -> Self {
        Self {
            path: part.into(),
            ..self
        }
    }

    /// Only if one of the query's parameters is this, as sent: `comp=blocklist`. Also only its beginning: `sig=`.
    pub fn query(self, beginning: &str) -> Self {
        Self {
            query: beginning.into(),
            ..self
        }
    }

    /// So many that match pass before.
    pub fn skip(self, skip: u32) -> Self {
        Self { skip, ..self }
    }

    /// So many meet it.
    pub fn times(self, times: u32) -> Self {
        Self { times, ..self }
    }

    /// All meet it, until the faults are cleared.
    pub fn always(self) -> Self {
        self.times(u32::MAX)
    }

    fn fits(&self, method: &Method, path: &str, query: &str) -> bool {
        let parameter = |parameter: &str| match self.query.ends_with('=') {
            true => parameter.starts_with(&self.query),
            false => parameter == self.query,
        };
        self.method.as_ref().is_none_or(|wanted| wanted == method)
            && path.contains(&self.path)
            && (self.query.is_empty() || query.split('&').any(parameter))
    }
}

/// What happens to a request. Bytes are those of its body or of its answer's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Its body is read, it is not passed on, and answered with this.
    Refuse(Refusal),
    /// It is passed on and carried out, and answered with this.
    Replace(Refusal),
    /// The connection is closed; the server hears nothing of it.
    CloseBefore,
    /// It is passed on and carried out, then the connection is closed: the answer is lost.
    CloseAfter,
    /// So much of its body is passed on, then both connections are closed. A shorter one passes whole.
    CutRequest {
        /// Bytes.
        after: u64,
    },
    /// So much of the answer's body is passed back, then both connections are closed. A shorter one passes whole. A
    /// client that does not keep up may get less.
    CutAnswer {
        /// Bytes.
        after: u64,
    },
    /// It is not passed on, and nothing is said, until the faults are cleared.
    Stall,
    /// So much of the answer's body is passed back, the rest when the faults are cleared. A shorter one passes whole.
    StallAnswer {
        /// Bytes.
        after: u64,
    },
    /// A header of the answer is another, or missing.
    Header {
        /// Such as `etag`.
        name: HeaderName,
        /// None: it is left out.
        value: Option<HeaderValue>,
    },
}

impl Action {
    /// A header of the answer with another value.
    pub fn header(name: &'static str, value: &'static str) -> Self {
        Self::Header {
            name: HeaderName::from_static(name),
            value: Some(HeaderValue::from_static(value)),
        }
    }
}

impl fmt::Display for Action {
    /// As it is written into the log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refuse(refusal) => write!(f, "refuse {}", refusal.status),
            Self::Replace(refusal) => write!(f, "replace {}", refusal.status),
            Self::CloseBefore => f.write_str("close before"),
            Self::CloseAfter => f.write_str("close after"),
            Self::CutRequest { after } => write!(f, "cut request after {after}"),
            Self::CutAnswer { after } => write!(f, "cut answer after {after}"),
            Self::Stall => f.write_str("stall"),
            Self::StallAnswer { after } => write!(f, "stall answer after {after}"),
            Self::Header { name, .. } => write!(f, "header {name}"),
        }
    }
}

/// An error as Azure Storage answers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// `x-ms-error-code`, and `Code` of the body.
    pub code: String,
    /// Besides, such as `retry-after`.
    pub headers: HeaderMap,
}

impl Refusal {
    /// Such as 503, `ServerBusy`.
    pub fn new(status: u16, code: &str) -> Self {
        Self {
            status,
            code: code.into(),
            headers: HeaderMap::new(),
        }
    }

    /// With one more header.
    pub fn with(mut self, name: &'static str, value: &'static str) -> Self {
        let value = HeaderValue::from_static(value);
        self.headers.insert(HeaderName::from_static(name), value);
        self
    }

    pub(super) fn answer(&self, method: &Method) -> Response<Bytes> {
        let text = format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>{}</Code><Message>A fault of the proxy.</Message></Error>",
            self.code
        );
        let body = if *method == Method::HEAD {
            Bytes::new()
        } else {
            text.into()
        };
        let mut answer = Response::new(body);
        *answer.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = answer.headers_mut();
        headers.extend(self.headers.clone());
        headers.insert("content-type", HeaderValue::from_static("application/xml"));
        headers.insert(
            "x-ms-request-id",
            HeaderValue::from_static("00000000-0000-0000-0000-000000000000"),
        );
        if let Ok(code) = HeaderValue::try_from(&self.code) {
            headers.insert("x-ms-error-code", code);
        }
        answer
    }
}

/// The faults that are armed.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<Armed>);

#[derive(Debug)]
struct Armed {
    fault: Fault,
    seen: u32,
}

impl Armed {
    fn spent(&self) -> bool {
        self.seen >= self.fault.skip.saturating_add(self.fault.times)
    }
}

impl Faults {
    pub(super) fn arm(&mut self, fault: Fault) {
        self.0.push(Armed { fault, seen: 0 });
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn pending(&self) -> Vec<Fault> {
        let pending = self
            .0
            .iter()
            .filter(|armed| armed.fault.times != u32::MAX && !armed.spent());
        pending.map(|armed| armed.fault.clone()).collect()
    }

    /// What a request meets; it counts for every fault that it matches.
    pub(super) fn meet(&mut self, method: &Method, path: &str, query: &str) -> Vec<Action> {
        let mut actions = Vec::new();
        for armed in &mut self.0 {
            if armed.spent() || !armed.fault.fits(method, path, query) {
                continue;
            }
            armed.seen += 1;
            if armed.seen > armed.fault.skip {
                actions.push(armed.fault.action.clone());
            }
        }
        actions
    }
}
