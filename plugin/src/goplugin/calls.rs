//! Calls in flight: each runs to its end, whatever becomes of the connection it came by.
//!
//! ```text
//! call ─► running ─► answered
//!            │ caller gone, or process stopping: its token is cancelled
//!            └─► cleaning up ─► answered, if anyone still listens
//! ```

use thiserror::Error;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Starts calls, and ends them. Clones share the calls.
#[derive(Clone, Debug, Default)]
pub struct Calls {
    stop: CancellationToken,
    running: TaskTracker,
}

/// A call that came to no result of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CallError {
    /// It came too late.
    #[error("the plugin process is stopping and takes no more calls")]
    Stopping,
    /// A defect.
    #[error("the plugin failed in an unforeseen way; its log has the place")]
    Panicked,
}

impl Calls {
    /// Runs `call` as a task of its own. If the returned future is dropped (the host cancelled, its connection
    /// broke), or the process stops, the token is cancelled and the task goes on to clean up.
    ///
    /// # Errors
    /// If the process is stopping already or the call panics.
    pub async fn run<T, F>(&self, call: impl FnOnce(CancellationToken) -> F) -> Result<T, CallError>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        if self.stop.is_cancelled() {
            return Err(CallError::Stopping);
        }
        let token = self.stop.child_token();
        let _cancel_on_drop = token.clone().drop_guard();
        self.running
            .spawn(call(token))
            .await
            .map_err(|_| CallError::Panicked)
    }

    /// For work that nobody waits for, such as news of what was done: the end of the process waits for it as for calls.
    pub fn afterwards(&self) -> TaskTracker {
        self.running.clone()
    }

    /// Cancelled when the process begins to stop.
    pub fn stopping(&self) -> &CancellationToken {
        &self.stop
    }

    /// Cancels what runs.
    pub(super) fn stop(&self) {
        self.stop.cancel();
        self.running.close();
    }

    /// Resolves when nothing runs any more; after [`Calls::stop`].
    pub(super) async fn finished(&self) {
        self.running.wait().await;
    }

    pub(super) fn in_flight(&self) -> usize {
        self.running.len()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    };

    use super::*;

    #[tokio::test]
    async fn answer_is_returned() {
        assert_eq!(Calls::default().run(|_| async { 5 }).await, Ok(5));
    }

    #[tokio::test]
    async fn dropped_call_cleans_up() {
        let calls = Calls::default();
        let cleaned = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&cleaned);
        let call = calls.run(|token| async move {
            token.cancelled().await;
            tokio::task::yield_now().await;
            flag.store(true, Ordering::SeqCst);
        });
        // One poll starts it, then it is dropped.
        tokio::time::timeout(std::time::Duration::ZERO, call)
            .await
            .unwrap_err();
        calls.stop();
        calls.finished().await;
        assert!(cleaned.load(Ordering::SeqCst));
    }

    #[tokio::test]
    async fn stop_cancels_what_runs_and_refuses_what_comes() {
        let calls = Calls::default();
        let call = tokio::spawn({
            let calls = calls.clone();
            async move {
                calls
                    .run(async |token| {
                        token.cancelled().await;
                        "cleaned up"
                    })
                    .await
            }
        });
        while calls.in_flight() == 0 {
            tokio::task::yield_now().await;
        }
        calls.stop();
        calls.finished().await;
        assert_eq!(call.await.unwrap(), Ok("cleaned up"));
        assert_eq!(calls.run(|_| async {}).await, Err(CallError::Stopping));
    }

    #[tokio::test]
    async fn panic_is_an_error_of_one_call() {
        let calls = Calls::default();
        let answer = calls.run(|_| async { panic!("defect of a test") }).await;
        assert_eq!(answer, Err::<(), _>(CallError::Panicked));
        assert_eq!(calls.run(|_| async { 1 }).await, Ok(1));
    }
}
