//! [`RefreshRequests`]: passes requests for a refresh to the provider, beside the poller's other calls.

use std::future::pending;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use super::guard::Guard;
use crate::{LoadError, ProviderError};

/// Where the result of a request goes.
pub(super) type RefreshReply = oneshot::Sender<Result<(), LoadError>>;

/// Minimum time between two calls of the provider, so that many requests do not overload the store.
const GAP: Duration = Duration::from_millis(100);

/// The requests that wait for the provider. At most one call is in progress, for all requests
/// that were made before it.
#[derive(Default)]
pub(super) struct RefreshRequests {
    waiting: Vec<RefreshReply>,
    /// The requests for which the call in progress was made.
    served: Vec<RefreshReply>,
    call: Option<BoxFuture<'static, Result<bool, ProviderError>>>,
    next_call_at: Option<Instant>,
}

impl RefreshRequests {
    pub(super) fn push(&mut self, reply: RefreshReply) {
        self.waiting.push(reply);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.call.is_none()
    }

    /// Makes the next call when there are requests, and waits for its result. Cancel safe.
    pub(super) async fn carried(
        &mut self,
        guard: Option<&Arc<Guard>>,
    ) -> Result<bool, ProviderError> {
        let (Some(guard), false) = (guard, self.is_empty()) else {
            return pending().await;
        };
        if self.call.is_none() {
            if let Some(at) = self.next_call_at {
                sleep_until(at).await;
            }
            self.next_call_at = Some(Instant::now() + GAP);
            self.served = mem::take(&mut self.waiting);
            let guard = Arc::clone(guard);
            self.call = Some(Box::pin(async move { guard.request_refresh().await }));
        }
        let Some(call) = &mut self.call else {
            return pending().await;
        };
        let carried = call.await;
        self.call = None;
        carried
    }

    /// Sends the result of the last call to the requests that it was made for.
    pub(super) fn answer(&mut self, answer: &Result<(), LoadError>) {
        for reply in self.served.drain(..) {
            // Fails if the caller is gone.
            let _ = reply.send(answer.clone());
        }
    }

    /// Drops the call in progress and all requests; their callers get [`RefreshError::Stopped`](crate::RefreshError).
    pub(super) fn stop(&mut self) {
        self.waiting.clear();
        self.served.clear();
        let call = self.call.take();
        // A user's `drop` may panic.
        let _ = catch_unwind(AssertUnwindSafe(move || drop(call)));
    }
}
