//! What the door asks.

use std::time::Duration;

use async_trait::async_trait;
use kube::core::{
    DynamicObject,
    admission::{AdmissionRequest, AdmissionResponse},
};

/// What decides about admission requests.
#[async_trait]
pub trait Reviewer: Send + Sync + 'static {
    /// Answers within `within`: what is left of the API server's patience, less the way of the answer.
    ///
    /// Dropping the future must undo what it began: the API server gave up, or the connection broke. The answer may then
    /// be lost too after it was given: the one that counts is what the API server stores.
    async fn review(
        &self,
        request: AdmissionRequest<DynamicObject>,
        within: Duration,
    ) -> AdmissionResponse;
}
