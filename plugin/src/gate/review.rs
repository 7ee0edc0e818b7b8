//! The API server's requests, and the gate's answers in its terms.

use std::time::Duration;

use async_trait::async_trait;
use json_patch::Patch;
use k8s_openapi::jiff::Timestamp;
use kube::core::{
    DynamicObject,
    admission::{AdmissionRequest, AdmissionResponse},
};
use tokio::time::Instant;

use super::{
    Gate,
    admit::Decision,
    annotations::{begun, set},
    attempt::Attempt,
    door::Reviewer,
    metrics::Outcome,
};

impl Decision {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Pass => Outcome::Passed,
            Self::Deny(_) => Outcome::Denied,
            Self::Held(_) => Outcome::Answered,
        }
    }
}

#[async_trait]
impl Reviewer for Gate {
    async fn review(
        &self,
        request: AdmissionRequest<DynamicObject>,
        within: Duration,
    ) -> AdmissionResponse {
        let until = Instant::now() + within;
        let review = self.metrics().review();
        let response = AdmissionResponse::from(&request);
        let attempt = match Attempt::read(&request, Timestamp::now()) {
            Ok(Some(attempt)) => attempt,
            Ok(None) => {
                review.came_to(Outcome::Passed);
                return response;
            }
            Err(reason) => {
                tracing::warn!(content = request.name, reason, "nothing can be held for it");
                review.came_to(Outcome::Passed);
                return response;
            }
        };
        let decision = self.admit(attempt, until).await;
        review.came_to(decision.outcome());
        match decision {
            Decision::Pass => response,
            Decision::Deny(reason) => response.deny(reason),
            Decision::Held(hold) => {
                let patch = Patch(set(begun(&hold)).collect());
                response.with_patch(patch).unwrap_or_else(|error| {
                    // Not stored, so not confirmed: the hold ends by itself.
                    tracing::error!(hold, %error, "an answer cannot be written");
                    AdmissionResponse::from(&request)
                })
            }
        }
    }
}
