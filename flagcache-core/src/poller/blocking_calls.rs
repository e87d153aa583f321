//! Runs blocking bodies on threads of their own.
//!
//! Not on the runtime's blocking pool: a runtime that shuts down waits for that pool, so one hung body would keep the
//! process from ending.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Weak};
use std::thread;

use tokio::sync::{Notify, oneshot};

use crate::{ProviderError, ProviderErrorKind};

/// How many blocking bodies of one provider may run at the same time.
///
/// The poller makes one call at a time, so a second body starts only after a call timed out while its body continued.
/// Four such bodies mean that the store hangs; more threads would hang too.
pub(crate) const MAX_RUNNING: usize = 4;

/// At most 15 bytes, the limit of Linux.
const THREAD_NAME: &str = "flagcache-call";

tokio::task_local! {
    /// The running calls of the provider whose future is being polled. Set by the guard, used by `macro_support`.
    static CURRENT: Arc<BlockingCalls>;
}

/// The running calls of providers that are used without a poller, by the provider's address.
static WITHOUT_POLLER: LazyLock<Mutex<HashMap<usize, Weak<BlockingCalls>>>> =
    LazyLock::new(Mutex::default);

/// The blocking bodies of one provider that are still running.
#[derive(Debug, Default)]
pub(crate) struct BlockingCalls {
    running: AtomicUsize,
    ended: Notify,
}

impl BlockingCalls {
    /// Runs `future` so that its blocking bodies are counted here.
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

    /// Where to count a body of `provider`: with the poller that makes the call, which includes nested providers;
    /// without a poller, by the provider's address.
    pub(crate) fn of_this_call<P>(provider: &P) -> Arc<Self> {
        CURRENT
            .try_with(Arc::clone)
            .unwrap_or_else(|_| Self::without_poller(ptr::from_ref(provider).addr()))
    }

    fn without_poller(address: usize) -> Arc<Self> {
        let mut providers = WITHOUT_POLLER.lock();
        if let Some(calls) = providers.get(&address).and_then(Weak::upgrade) {
            return calls;
        }
        // A running body holds its entry. Remove the rest, so that the map never outgrows the number of running bodies.
        providers.retain(|_, calls| calls.strong_count() > 0);
        let calls = Arc::new(Self::default());
        providers.insert(address, Arc::downgrade(&calls));
        calls
    }

    /// Runs `body` on a thread of its own and returns its value. A panic in it continues in the awaiting future, as in
    /// an async body.
    ///
    /// Dropping the future abandons the body, which cannot be stopped: it runs to its end and is counted until then.
    ///
    /// # Errors
    ///
    /// `Busy` if [`MAX_RUNNING`] bodies are running; `Unavailable` if the system cannot create a thread.
    pub(crate) async fn run<T: Send + 'static>(
        self: Arc<Self>,
        body: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ProviderError> {
        let running = Running::enter(self)?;
        let (sender, receiver) = oneshot::channel();
        thread::Builder::new()
            .name(THREAD_NAME.to_owned())
            .spawn(move || {
                let value = catch_unwind(AssertUnwindSafe(body));
                // Before the result is sent: its receiver may start the next call at once.
                drop(running);
                // Fails if the call timed out.
                let _ = sender.send(value);
            })
            .map_err(|error| {
                let message = "cannot start a thread for a blocking provider call; raise the process's thread limit";
                ProviderError::new(ProviderErrorKind::Unavailable, message).with_source(error)
            })?;
        match receiver.await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(panic)) => resume_unwind(panic),
            Err(lost) => {
                let message = "the thread of a blocking provider call ended without a result";
                Err(ProviderError::new(ProviderErrorKind::Other, message).with_source(lost))
            }
        }
    }
}

/// Counts one running body for its lifetime.
#[derive(Debug)]
struct Running(Arc<BlockingCalls>);

impl Running {
    fn enter(calls: Arc<BlockingCalls>) -> Result<Self, ProviderError> {
        let one_more = |running| (running < MAX_RUNNING).then_some(running + 1);
        match calls
            .running
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more)
        {
            Ok(_) => Ok(Self(calls)),
            Err(_) => {
                let message = format!(
                    "{MAX_RUNNING} blocking calls of this provider are still running; the store hangs, or a blocking \
                     method needs a time limit of its own"
                );
                Err(ProviderError::new(ProviderErrorKind::Busy, message))
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::AcqRel);
        self.0.ended.notify_waiters();
    }
}

#[cfg(test)]
mod tests;
