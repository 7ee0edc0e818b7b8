//! Tokens, reviewed by TokenReview.

use async_trait::async_trait;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use kube::{Api, Client, api::PostParams};

use super::described;
use crate::account::{AUDIENCE, Review, Reviewer};

/// Asks Kubernetes about tokens (`tokenreviews: create`).
pub(crate) struct TokenReviews(Api<TokenReview>);

impl TokenReviews {
    pub(crate) fn new(client: Client) -> Self {
        Self(Api::all(client))
    }
}

#[async_trait]
impl Reviewer for TokenReviews {
    async fn review(&self, token: &str) -> Result<Review, String> {
        let review = TokenReview {
            spec: TokenReviewSpec {
                token: Some(token.to_owned()),
                audiences: Some(vec![AUDIENCE.to_owned()]),
            },
            ..TokenReview::default()
        };
        let reviewed = self.0.create(&PostParams::default(), &review).await;
        let status = reviewed.map_err(|error| described(&error))?.status;
        let status = status.ok_or("TokenReview without a status")?;
        Ok(Review {
            authenticated: status.authenticated.unwrap_or_default(),
            audiences: status.audiences.unwrap_or_default(),
            user: status
                .user
                .and_then(|user| user.username)
                .unwrap_or_default(),
            error: status.error.unwrap_or_else(|| "not authenticated".into()),
        })
    }
}
