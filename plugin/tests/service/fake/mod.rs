//! Use cases that behave as the test names their volumes and objects.

mod disks;
mod objects;

use std::{collections::BTreeSet, sync::Mutex, time::Duration};

use thiserror::Error;
use tokio::time::timeout;
use tonic::{Code, Status};

pub(crate) use disks::{Disks, Locations};
pub(crate) use objects::{Objects, Stores};

/// All that goes wrong here.
#[derive(Debug, Error)]
pub(crate) enum FakeError {
    #[error("unknown key {0}")]
    Key(String),
    #[error("not there")]
    Missing,
    #[error("the key was rotated")]
    Refused,
    #[error("it broke")]
    Broken,
    #[error("cancelled, and cleaned up")]
    Cancelled,
}

impl From<FakeError> for Status {
    fn from(error: FakeError) -> Self {
        let code = match error {
            FakeError::Key(_) => Code::InvalidArgument,
            FakeError::Missing => Code::NotFound,
            FakeError::Refused => Code::PermissionDenied,
            FakeError::Broken => Code::Aborted,
            FakeError::Cancelled => Code::Cancelled,
        };
        Self::new(code, error.to_string())
    }
}

/// What happened, for a test to wait for.
#[derive(Debug, Default)]
struct Events(Mutex<BTreeSet<String>>);

impl Events {
    fn note(&self, event: &str) {
        self.0.lock().unwrap().insert(event.to_owned());
    }

    async fn seen(&self, event: &str) {
        let seen = async {
            while !self.0.lock().unwrap().contains(event) {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(10), seen)
            .await
            .unwrap_or_else(|_| panic!("never {event}"));
    }
}
