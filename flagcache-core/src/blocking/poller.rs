//! [`FlagDefinitionPoller`]: the handle of a poller, for programs without tokio.

use std::thread;
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use super::thread::{PollerThread, start};
use super::wait::{in_a_task, wait, wait_timeout};
use super::{BlockingError, DefinitionsChanges};
use crate::{
    FlagDefinitionCacheData, NotReadyError, PollerStatus, RefreshError, ShutdownError, StartError,
};

/// Configures a [`FlagDefinitionPoller`] of this module: the builder of the asynchronous one, with the same options.
pub type FlagDefinitionPollerBuilder = crate::FlagDefinitionPollerBuilder<FlagDefinitionPoller>;

impl FlagDefinitionPollerBuilder {
    /// Starts the poller on a thread of its own. Waits for no load: the first one runs in the background, so a store
    /// that is down does not delay the start of the process. Can be called anywhere.
    ///
    /// # Errors
    ///
    /// [`StartError`] if the configuration cannot work or the system cannot create a thread. In that case nothing was
    /// started, and the provider was not called.
    pub fn start(self) -> Result<FlagDefinitionPoller, StartError> {
        let (poller, thread) = start(self)?;
        Ok(FlagDefinitionPoller { poller, thread })
    }
}

/// Keeps this process's flag definitions current, on a thread of its own: calls the provider's decision, fetches or
/// reads, publishes, shuts down.
///
/// The handle is cheap to clone; all clones refer to the same poller, and can be used from any number of threads at a
/// time. Dropping the last one shuts the poller down in the background, like [`shutdown`](Self::shutdown), but does not
/// wait: if the process ends first, the provider's `shutdown` is not called and its lock is released by TTL, or by the
/// operating system.
///
/// An error never breaks flag evaluation: whatever fails, [`definitions`](Self::definitions) keeps returning the last
/// good definitions.
///
/// ```no_run
/// use std::time::Duration;
///
/// use flagcache_core::blocking::FlagDefinitionPoller;
///
/// # fn worker(
/// #     source: impl flagcache_core::FlagDefinitionSource,
/// #     provider: impl flagcache_core::FlagDefinitionCacheProvider,
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// let flags = FlagDefinitionPoller::builder().source(source).flag_definition_cache_provider(provider).start()?;
/// flags.wait_ready(Duration::from_secs(5))?;
/// if let Some(definitions) = flags.definitions() {
///     println!("{} flags", definitions.len());
/// }
/// flags.shutdown()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct FlagDefinitionPoller {
    poller: crate::FlagDefinitionPoller,
    thread: PollerThread,
}

impl FlagDefinitionPoller {
    /// Configures a poller.
    pub fn builder() -> FlagDefinitionPollerBuilder {
        FlagDefinitionPollerBuilder::new()
    }

    /// The current definitions; `None` before the first successful load. Definitions without flags are `Some`.
    ///
    /// Never blocks and takes no lock. Can be called from any thread, in or out of a runtime, also after shutdown. The
    /// snapshot is immutable: evaluate all flags of one request on one snapshot.
    pub fn definitions(&self) -> Option<FlagDefinitionCacheData> {
        self.poller.definitions()
    }

    /// Waits until there are definitions, for at most `timeout`. Definitions without flags count.
    ///
    /// In manual mode nothing loads by itself: call [`refresh`](Self::refresh) instead.
    ///
    /// # Errors
    ///
    /// [`NotReadyError`] if the timeout passed or the poller was shut down. After a timeout the poller keeps trying.
    pub fn wait_ready(&self, timeout: Duration) -> Result<(), BlockingError<NotReadyError>> {
        if self.must_not_block() {
            return Err(BlockingError::InsideRuntime);
        }
        let ready = wait_timeout(timeout, self.poller.ready())
            .unwrap_or_else(|| Err(self.poller.not_ready_within(timeout)));
        Ok(ready?)
    }

    /// Loads now: one decision, then one read or one request. Joins a load in progress; any number of concurrent
    /// callers share one load.
    ///
    /// A request that is suppressed by backoff (429, 402, repeated failures) stays suppressed.
    ///
    /// Takes as long as the load, whose provider calls and request have the timeouts of the builder. A provider whose
    /// plain `fn` blocks also blocks the poller's thread, and with it this call: mark such a method
    /// `#[flag_cache(blocking)]`.
    ///
    /// # Errors
    ///
    /// [`RefreshError`] if the load met an error. The definitions in memory are kept and usable.
    pub fn refresh(&self) -> Result<(), BlockingError<RefreshError>> {
        if self.must_not_block() {
            return Err(BlockingError::InsideRuntime);
        }
        Ok(wait(self.poller.refresh())?)
    }

    /// Calls [`refresh`](Self::refresh), unless a load has succeeded within `age`. For serverless handlers, at the
    /// start of each call.
    ///
    /// # Errors
    ///
    /// As [`refresh`](Self::refresh).
    pub fn refresh_if_older_than(&self, age: Duration) -> Result<(), BlockingError<RefreshError>> {
        // Checked even if there is nothing to wait for, so that a misuse shows at the first call.
        if self.must_not_block() {
            return Err(BlockingError::InsideRuntime);
        }
        Ok(wait(self.poller.refresh_if_older_than(age))?)
    }

    /// Requests a refresh of the whole fleet, from any worker, without waiting for it, like
    /// [`request_refresh`](crate::FlagDefinitionPoller::request_refresh) of the asynchronous handle.
    ///
    /// # Errors
    ///
    /// [`RefreshError`] if the store could not take the request, or the poller is shut down. Nothing else changes, and
    /// the next tick fetches as always.
    pub fn request_refresh(&self) -> Result<(), BlockingError<RefreshError>> {
        if self.must_not_block() {
            return Err(BlockingError::InsideRuntime);
        }
        Ok(wait(self.poller.request_refresh())?)
    }

    /// Subscribes to changes: one event per change from now on. Returns at once; the subscription waits.
    pub fn subscribe(&self) -> DefinitionsChanges {
        DefinitionsChanges::new(self.poller.subscribe(), self.thread.id)
    }

    /// The poller's state, for health checks and metrics. Never blocks.
    pub fn status(&self) -> PollerStatus {
        self.poller.status()
    }

    /// Shuts the poller down: cancels a request in progress, waits for a provider call in progress (which has a
    /// timeout), then calls the provider's `shutdown`, once. Can be called any number of times, from any clone; each
    /// call waits for the same end. The definitions remain readable.
    ///
    /// Returns after the shutdown timeout (default 5 s) at the latest. If a provider call still hangs then, the
    /// provider's `shutdown` is called when that call returns; the process can end meanwhile.
    ///
    /// # Errors
    ///
    /// [`ShutdownError`] if the timeout passed, or the provider's `shutdown` failed. The poller has stopped in both
    /// cases. If the call is refused inside a runtime, nothing happens.
    pub fn shutdown(&self) -> Result<(), BlockingError<ShutdownError>> {
        if self.must_not_block() {
            return Err(BlockingError::InsideRuntime);
        }
        let deadline = Instant::now() + self.poller.shutdown_timeout();
        self.poller.stop();
        let stopped = wait_timeout(self.poller.shutdown_timeout(), self.poller.stopped())
            .unwrap_or_else(|| Err(self.poller.not_stopped_in_time()));
        // Wait until the tasks and connections of the poller's runtime have ended too.
        wait_timeout(
            deadline.saturating_duration_since(Instant::now()),
            self.thread.ended(),
        );
        Ok(stopped?)
    }

    /// The asynchronous handle of the same poller, for code that awaits.
    ///
    /// Its [`wait_ready`](crate::FlagDefinitionPoller::wait_ready) and
    /// [`shutdown`](crate::FlagDefinitionPoller::shutdown) use timers of the caller's runtime, so they need one with
    /// its timer enabled. The poller stays on its own thread.
    pub fn as_async(&self) -> &crate::FlagDefinitionPoller {
        &self.poller
    }

    fn must_not_block(&self) -> bool {
        must_not_block(self.thread.id)
    }
}

/// Whether a wait here would block a runtime, or this poller itself: a provider method may call its own poller.
pub(super) fn must_not_block(thread_of_poller: ThreadId) -> bool {
    thread::current().id() == thread_of_poller || in_a_task()
}
