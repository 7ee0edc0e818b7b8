//! The question to Kubernetes.

use async_trait::async_trait;

/// What Kubernetes says of a token (`TokenReviewStatus`).
#[derive(Debug, Default)]
pub(crate) struct Review {
    pub(crate) authenticated: bool,
    /// Those of the audiences asked for that the token is good for.
    pub(crate) audiences: Vec<String>,
    pub(crate) user: String,
    /// Why it is not authenticated.
    pub(crate) error: String,
}

/// Who knows tokens.
#[async_trait]
pub(crate) trait Reviewer: Send + Sync {
    /// Reviews `token` for [`AUDIENCE`](super::AUDIENCE); an error if nobody could be asked, with the reason.
    async fn review(&self, token: &str) -> Result<Review, String>;
}
