//! `POST /admit`: an AdmissionReview in, one out.

use std::sync::Arc;

use bytes::Bytes;
use http::{
    Method, Request, Response, StatusCode,
    header::{CONTENT_TYPE, HeaderValue},
};
use http_body_util::Full;
use hyper::body::Incoming;
use kube::core::{
    DynamicObject,
    admission::{AdmissionRequest, AdmissionReview, META_API_VERSION_V1, META_KIND},
};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};

use super::{
    Reviewer,
    body::{self, Bodies},
    crowd::Place,
    listener::Answers,
    patience,
    refusal::Refusal,
};

const PATH: &str = "/admit";
/// Reviews at once; fewer than connections, so that there is always a way in.
const REVIEWS: usize = 128;
/// For the way of an answer, as a part of the patience.
const WAY: u32 = 20;

/// Answers the API server.
pub(super) struct Admission {
    reviewer: Arc<dyn Reviewer>,
    bodies: Bodies,
    reviews: Semaphore,
}

impl Admission {
    pub(super) fn new(reviewer: Arc<dyn Reviewer>) -> Self {
        Self {
            reviewer,
            bodies: Bodies::default(),
            reviews: Semaphore::new(REVIEWS),
        }
    }

    async fn admit(
        &self,
        request: Request<Incoming>,
        place: &Arc<Place>,
    ) -> Result<Bytes, Refusal> {
        let arrived = Instant::now();
        if request.method() != Method::POST || request.uri().path() != PATH {
            return Err(Refusal::NotHere);
        }
        let patience = patience::of(request.uri().query())?;
        let deadline = arrived + patience;
        let read = arrived + patience.min(body::PATIENCE);
        let read = timeout_at(read, self.bodies.read(request.into_body())).await;
        let request = review_of(&read.map_err(|_| Refusal::Slow)??)?;

        let _asking = place.asks();
        let _review = self.reviews.try_acquire().map_err(|_| Refusal::Full)?;
        let types = request.types.clone();
        let uid = request.uid.clone();
        let left = deadline.saturating_duration_since(Instant::now());
        let within = left.saturating_sub(patience / WAY);
        // After the deadline nobody listens any more.
        let reviewed = timeout_at(deadline, self.reviewer.review(request, within)).await;
        let mut response = reviewed.map_err(|_| Refusal::Late(patience))?;
        response.types = types;
        response.uid = uid;
        let answer = serde_json::to_vec(&response.into_review());
        answer.map(Bytes::from).map_err(Refusal::Answer)
    }
}

impl Answers for Admission {
    async fn answer(
        &self,
        request: Request<Incoming>,
        place: &Arc<Place>,
    ) -> Response<Full<Bytes>> {
        match self.admit(request, place).await {
            Ok(review) => {
                let mut response = Response::new(Full::new(review));
                let json = HeaderValue::from_static("application/json");
                response.headers_mut().insert(CONTENT_TYPE, json);
                response
            }
            Err(refusal) => {
                if refusal.status() != StatusCode::NOT_FOUND {
                    tracing::warn!(reason = %refusal, "a request is not reviewed");
                }
                refusal.into_response()
            }
        }
    }
}

fn review_of(body: &[u8]) -> Result<AdmissionRequest<DynamicObject>, Refusal> {
    let review: AdmissionReview<DynamicObject> =
        serde_json::from_slice(body).map_err(Refusal::NoReview)?;
    let types = &review.types;
    if types.api_version != META_API_VERSION_V1 || types.kind != META_KIND {
        return Err(Refusal::OtherKind {
            api_version: types.api_version.clone(),
            kind: types.kind.clone(),
        });
    }
    review.try_into().map_err(|_| Refusal::NoRequest)
}
