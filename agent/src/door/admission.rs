//! Before the service of the TCP door: a call goes on once its token is accepted, and carries its account from there.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response, header::AUTHORIZATION};
use tonic::{Status, body::Body};
use tower::{Layer, Service};

use super::tcp::Remote;
use crate::{account::Accounts, metrics::Metrics};

/// Asks every call for its token.
#[derive(Clone)]
pub(crate) struct Admission {
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) metrics: Metrics,
}

impl<S> Layer<S> for Admission {
    type Service = Admitted<S>;

    fn layer(&self, inner: S) -> Admitted<S> {
        Admitted {
            admission: self.clone(),
            inner,
        }
    }
}

/// The service behind it.
#[derive(Clone)]
pub(crate) struct Admitted<S> {
    admission: Admission,
    inner: S,
}

impl<S> Service<Request<Body>> for Admitted<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let waiting = self.inner.clone();
        // The one that was made ready.
        let mut inner = std::mem::replace(&mut self.inner, waiting);
        let Admission { accounts, metrics } = self.admission.clone();
        Box::pin(async move {
            // Taken out, so that nothing behind this can log it.
            let authorization = request.headers_mut().remove(AUTHORIZATION);
            let Some(remote) = request.extensions().get::<Remote>().cloned() else {
                return Ok(Status::internal("not a call of the TCP door").into_http());
            };
            match accounts.admit(remote.peer, authorization.as_ref()).await {
                Ok(account) => {
                    remote.admitted();
                    request.extensions_mut().insert(account);
                    inner.call(request).await
                }
                Err(refusal) => {
                    metrics.refused_caller(&refusal);
                    Ok(Status::from(refusal).into_http())
                }
            }
        })
    }
}
