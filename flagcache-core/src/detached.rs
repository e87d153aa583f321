//! Blocking bodies that run on threads of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

tokio::task_local! {
    /// The calls of the provider whose future is being polled. Set by the guard, found by `__private`.
    static CURRENT: Arc<DetachedCalls>;
}

/// The blocking bodies of one provider that are still running.
#[derive(Debug, Default)]
pub(crate) struct DetachedCalls {
    running: AtomicUsize,
    ended: Notify,
}

impl DetachedCalls {
    /// Runs `future` so that blocking bodies started in it are counted here.
    pub(crate) async fn scope<F: Future>(self: &Arc<Self>, future: F) -> F::Output {
        CURRENT.scope(Arc::clone(self), future).await
    }

    /// Waits until no body is running.
    pub(crate) async fn idle(&self) {
        loop {
            let ended = self.ended.notified();
            if self.running.load(Ordering::Acquire) == 0 {
                return;
            }
            ended.await;
        }
    }
}
