//! What the kubelet asks over plain HTTP: whether thaw deadlines are being kept (`/healthz`), and whether a hold would be
//! accepted now (`/readyz`). Prometheus reads `/metrics` there.
//!
//! The conditions are looked at on a blocking thread, as a thaw is done on one: if there is none left, that is said too.

mod listener;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use tokio::{task::spawn_blocking, time::timeout};

pub(crate) use self::listener::{Listener, ProbesError};
use crate::metrics::{self, Metrics};

/// For all conditions together; the kubelet waits for a second by default.
const PATIENCE: Duration = Duration::from_millis(800);

type Holds = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

/// Conditions that must all hold.
#[derive(Default)]
pub(crate) struct Conditions(Vec<(&'static str, Holds)>);

impl Conditions {
    /// Adds one; an error says why it does not hold, after `what`. It may block for a moment.
    pub(crate) fn require(
        &mut self,
        what: &'static str,
        holds: impl Fn() -> Result<(), String> + Send + Sync + 'static,
    ) {
        self.0.push((what, Box::new(holds)));
    }

    /// What does not hold, a line each.
    fn check(&self) -> Result<(), String> {
        let failed: Vec<_> = self
            .0
            .iter()
            .filter_map(|(what, holds)| Some(format!("{what}: {}", holds().err()?)))
            .collect();
        if failed.is_empty() {
            Ok(())
        } else {
            Err(failed.join("\n"))
        }
    }
}

/// What is answered, by path.
pub(crate) struct Pages {
    /// Liveness.
    pub(crate) alive: Arc<Conditions>,
    /// Readiness, besides liveness.
    pub(crate) ready: Arc<Conditions>,
    pub(crate) metrics: Metrics,
}

impl Pages {
    async fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if method != Method::GET {
            return said(StatusCode::METHOD_NOT_ALLOWED, "expected GET");
        }
        match path {
            "/healthz" => probe(&[&self.alive]).await,
            "/readyz" => probe(&[&self.alive, &self.ready]).await,
            "/metrics" => page(StatusCode::OK, metrics::CONTENT_TYPE, self.metrics.text()),
            _ => said(
                StatusCode::NOT_FOUND,
                "not found: expected /healthz, /readyz or /metrics",
            ),
        }
    }
}

async fn probe(conditions: &[&Arc<Conditions>]) -> Response<Full<Bytes>> {
    let conditions: Vec<_> = conditions.iter().map(|&all| all.clone()).collect();
    let checked = spawn_blocking(move || {
        let failed = conditions.iter().filter_map(|all| all.check().err());
        failed.collect::<Vec<_>>().join("\n")
    });
    match timeout(PATIENCE, checked).await {
        Ok(Ok(failed)) if failed.is_empty() => said(StatusCode::OK, "ok"),
        Ok(Ok(failed)) => said(StatusCode::SERVICE_UNAVAILABLE, &failed),
        Ok(Err(error)) => said(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
        Err(_) => said(
            StatusCode::SERVICE_UNAVAILABLE,
            &format!("not known within {PATIENCE:?}: no thread is left to thaw from"),
        ),
    }
}

fn said(status: StatusCode, sentence: &str) -> Response<Full<Bytes>> {
    page(status, "text/plain; charset=utf-8", format!("{sentence}\n"))
}

fn page(status: StatusCode, content_type: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let content_type = http::HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    async fn asked(pages: &Pages, path: &str) -> (u16, String) {
        let answer = pages.answer(&Method::GET, path).await;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn every_condition_that_does_not_hold_is_named_and_readiness_includes_liveness() {
        let mut alive = Conditions::default();
        alive.require("thaws", || Err("7:1 is late".into()));
        let mut ready = Conditions::default();
        ready.require("journal", || Ok(()));
        ready.require("Lease", || Err("not written".into()));
        let mut pages = Pages {
            alive: Arc::new(alive),
            ready: Arc::new(ready),
            metrics: Metrics::new(),
        };
        let late = "thaws: 7:1 is late\n".to_owned();
        assert_eq!(asked(&pages, "/healthz").await, (503, late.clone()));
        let both = format!("{late}Lease: not written\n");
        assert_eq!(asked(&pages, "/readyz").await, (503, both));
        pages.alive = Arc::default();
        assert_eq!(asked(&pages, "/healthz").await, (200, "ok\n".into()));
        assert_eq!(asked(&pages, "/readyz").await.0, 503);
        pages.ready = Arc::default();
        assert_eq!(asked(&pages, "/readyz").await, (200, "ok\n".into()));
        assert_eq!(asked(&pages, "/").await.0, 404);
        let posted = pages.answer(&Method::POST, "/healthz").await;
        assert_eq!(posted.status(), StatusCode::METHOD_NOT_ALLOWED);
    }

    // On the real clock: a paused one does not advance by itself while a blocking thread is at work.
    #[tokio::test]
    async fn a_condition_that_hangs_does_not_hold() {
        let mut alive = Conditions::default();
        let (release, released) = std::sync::mpsc::channel::<()>();
        let released = std::sync::Mutex::new(released);
        alive.require("thread", move || {
            let _ = released.lock().unwrap().recv();
            Ok(())
        });
        let pages = Pages {
            alive: Arc::new(alive),
            ready: Arc::default(),
            metrics: Metrics::new(),
        };
        let (status, sentence) = asked(&pages, "/healthz").await;
        assert_eq!(status, 503, "{sentence}");
        drop(release);
    }
}
