//! Blocking bodies that run on threads of their own.
//!
//! Not the runtime's blocking pool: a runtime that shuts down waits for that pool, so one hung body would keep the process
//! from ending. A detached thread keeps nobody waiting who does not want to.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::thread;

use tokio::sync::{Notify, oneshot};

use crate::{ProviderError, ProviderErrorKind};

/// How many blocking bodies of one provider may run at the same time.
///
/// The poller makes one call at a time, so a second body runs only after a call was cut at its limit while its body went
/// on. Four such bodies mean a store that hangs; more threads would hang beside them.
pub(crate) const MAX_RUNNING: usize = 4;

/// At most 15 bytes, or Linux cuts it.
const THREAD_NAME: &str = "flagcache-call";

tokio::task_local! {
    /// The calls of the provider whose future is being polled. Set by the guard, found by `macro_support`.
    static CURRENT: Arc<BlockingCalls>;
}

/// The calls of the providers that are used without a poller, by the provider's address.
static WITHOUT_POLLER: LazyLock<Mutex<HashMap<usize, Weak<BlockingCalls>>>> =
    LazyLock::new(Mutex::default);

/// The blocking bodies of one provider that are still running.
#[derive(Debug, Default)]
pub(crate) struct BlockingCalls {
    running: AtomicUsize,
    ended: Notify,
}

impl BlockingCalls {
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

    /// Where a body of `provider` is counted: with the poller that makes the call, which also covers a provider inside
    /// another one; without a poller, with all calls of the provider at this address.
    pub(crate) fn of_this_call<P>(provider: &P) -> Arc<Self> {
        CURRENT
            .try_with(Arc::clone)
            .unwrap_or_else(|_| Self::without_poller(ptr::from_ref(provider).addr()))
    }

    fn without_poller(address: usize) -> Arc<Self> {
        let mut providers = WITHOUT_POLLER
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(calls) = providers.get(&address).and_then(Weak::upgrade) {
            return calls;
        }
        // What runs holds its entry. The rest may go: the map never outgrows the number of running bodies.
        providers.retain(|_, calls| calls.strong_count() > 0);
        let calls = Arc::new(Self::default());
        providers.insert(address, Arc::downgrade(&calls));
        calls
    }

    /// Runs `body` on a thread of its own and gives its value. A panic in it goes on in the awaiting future, so it ends
    /// where a panic of an async body does.
    ///
    /// Dropping the future abandons the body, which cannot be stopped: it runs to its end, counted until then.
    ///
    /// # Errors
    ///
    /// `Busy` if [`MAX_RUNNING`] bodies are running; `Unavailable` if the system gives no thread.
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
                // Before the answer: whoever has it may start the next call at once.
                drop(running);
                // Nobody listens if the call was cut.
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
                let message = "the thread of a blocking provider call ended without an answer";
                Err(ProviderError::new(ProviderErrorKind::Other, message).with_source(lost))
            }
        }
    }
}

/// One running body, counted for as long as this lives.
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
