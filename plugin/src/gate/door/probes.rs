//! What the kubelet asks: whether the gate lives, and whether it can be asked. And what Prometheus reads.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{
    Method, Request, Response, StatusCode,
    header::{CONTENT_TYPE, HeaderValue},
};
use http_body_util::Full;
use hyper::body::Incoming;

use super::{crowd::Place, listener::Answers, refusal::said};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Holds = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

/// What must hold for the gate to be ready. Clones are the same.
#[derive(Clone, Default)]
pub struct Readiness(Arc<Mutex<Vec<(&'static str, Holds)>>>);

impl Readiness {
    /// The gate is ready only while `holds`; it must answer at once. An error says why not, after `what`.
    pub fn require(
        &self,
        what: &'static str,
        holds: impl Fn() -> Result<(), String> + Send + Sync + 'static,
    ) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push((what, Box::new(holds)));
    }

    /// # Errors
    /// What does not hold, each with its reason, a line each.
    pub fn check(&self) -> Result<(), String> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let failed: Vec<_> = all
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

/// Writes all metrics.
pub(super) type Metrics = Box<dyn Fn() -> String + Send + Sync>;

/// Answers the kubelet and Prometheus.
pub(super) struct Probes {
    pub(super) readiness: Readiness,
    pub(super) metrics: Option<Metrics>,
}

impl Answers for Probes {
    async fn answer(
        &self,
        request: Request<Incoming>,
        place: &Arc<Place>,
    ) -> Response<Full<Bytes>> {
        let _asking = place.asks();
        if request.method() != Method::GET {
            return said(StatusCode::NOT_FOUND, "not found".to_owned());
        }
        match request.uri().path() {
            "/healthz" => said(StatusCode::OK, "ok".to_owned()),
            "/metrics" => match &self.metrics {
                Some(metrics) => exposed(metrics()),
                None => said(StatusCode::NOT_FOUND, "not found".to_owned()),
            },
            "/readyz" => match self.readiness.check() {
                Ok(()) => said(StatusCode::OK, "ok".to_owned()),
                Err(reasons) => said(StatusCode::SERVICE_UNAVAILABLE, reasons),
            },
            _ => said(StatusCode::NOT_FOUND, "not found".to_owned()),
        }
    }
}

fn exposed(metrics: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(metrics)));
    let text = HeaderValue::from_static(OPEN_METRICS);
    response.headers_mut().insert(CONTENT_TYPE, text);
    response
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    use super::*;

    #[test]
    fn every_condition_that_does_not_hold_is_named() {
        let readiness = Readiness::default();
        assert_eq!(readiness.check(), Ok(()));
        let synced = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&synced);
        readiness.require("watch", move || match seen.load(Relaxed) {
            true => Ok(()),
            false => Err("not listed".to_owned()),
        });
        readiness.require("certificate", || Err("none".to_owned()));
        let both = "watch: not listed\ncertificate: none";
        assert_eq!(readiness.check(), Err(both.to_owned()));
        synced.store(true, Relaxed);
        assert_eq!(readiness.check(), Err("certificate: none".to_owned()));
    }
}
