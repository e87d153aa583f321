//! The handle that a program without tokio holds.

use std::thread;
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use super::thread::{PollerThread, start};
use super::wait::{in_a_task, wait, wait_at_most};
use super::{BlockingError, DefinitionsChanges};
use crate::{
    FlagDefinitionCacheData, NotReadyError, PollerStatus, RefreshError, ShutdownError, StartError,
};

/// Configures a [`FlagDefinitionPoller`] of this module: the builder of the asynchronous one, with the same options.
pub type FlagDefinitionPollerBuilder = crate::FlagDefinitionPollerBuilder<FlagDefinitionPoller>;

impl FlagDefinitionPollerBuilder {
    /// Starts the poller on a thread of its own. Waits for no load: the first one runs in the background, a store that is
    /// down does not keep the process from booting. Can be called anywhere.
    ///
    /// # Errors
    ///
    /// [`StartError`], when the configuration cannot work or the system gives no thread. Nothing was started then, and the
    /// provider was not called.
    pub fn start(self) -> Result<FlagDefinitionPoller, StartError> {
        let (poller, thread) = start(self)?;
        Ok(FlagDefinitionPoller { poller, thread })
    }
}

/// Keeps this process's flag definitions current, on a thread of its own: asks the provider who fetches, fetches or reads,
/// publishes, shuts down.
///
/// The handle is cheap to clone; all clones stand for the same poller, and can be used from any number of threads at a time.
/// Dropping the last one asks the poller to end in the background, as [`shutdown`](Self::shutdown) does, but waits for
/// nothing: when the process ends first, the provider is not told and its lock frees itself (by its life, or by the operating
/// system).
///
/// An error never breaks flag evaluation: whatever fails, [`definitions`](Self::definitions) keeps returning the last good
/// set.
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
/// if let Some(set) = flags.definitions() {
///     println!("{} flags", set.len());
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

    /// The set in force now; `None` until the first load that brought one. An empty set is a set.
    ///
    /// Never blocks, takes no lock, and can be called from any thread, in or out of a runtime, also after shutdown. The set
    /// is immutable: evaluate all flags of one request on one set.
    pub fn definitions(&self) -> Option<FlagDefinitionCacheData> {
        self.poller.definitions()
    }

    /// Waits until there are definitions, at most for `timeout`. An empty set counts.
    ///
    /// In manual mode nothing loads by itself: call [`refresh`](Self::refresh) instead.
    ///
    /// # Errors
    ///
    /// [`NotReadyError`] when the timeout passed or the poller was shut down. The poller goes on trying.
    pub fn wait_ready(&self, timeout: Duration) -> Result<(), BlockingError<NotReadyError>> {
        if self.must_not_block() {
            return Err(BlockingError::InsideRuntime);
        }
        let ready = wait_at_most(timeout, self.poller.ready())
            .unwrap_or_else(|| Err(self.poller.not_ready_within(timeout)));
        Ok(ready?)
    }

    /// Loads now: one decision, then one read or one request. Joins the load that is running, if one is; any number of
    /// threads that call it at the same time share one load.
    ///
    /// A request that the API has told this worker to put off (429, 402, repeated failures) is put off here too.
    ///
    /// Takes as long as the load: its calls of the provider and its request have limits, set in the builder. A provider
    /// whose plain `fn` blocks holds up the poller's thread, and with it this call: mark such a method
    /// `#[flag_cache(blocking)]`.
    ///
    /// # Errors
    ///
    /// [`RefreshError`] says what went wrong in the load; the definitions in memory are kept and can be used.
    pub fn refresh(&self) -> Result<(), BlockingError<RefreshError>> {
        if self.must_not_block() {
            return Err(BlockingError::InsideRuntime);
        }
        Ok(wait(self.poller.refresh())?)
    }

    /// [`refresh`](Self::refresh), unless a load has succeeded within `age`. What a serverless handler calls first.
    ///
    /// # Errors
    ///
    /// As [`refresh`](Self::refresh).
    pub fn refresh_if_older_than(&self, age: Duration) -> Result<(), BlockingError<RefreshError>> {
        // Also if there is no need to wait now, so that a mistake shows at the first call.
        if self.must_not_block() {
            return Err(BlockingError::InsideRuntime);
        }
        Ok(wait(self.poller.refresh_if_older_than(age))?)
    }

    /// One event per applied change from now on. Returns at once; the subscription waits.
    pub fn subscribe(&self) -> DefinitionsChanges {
        DefinitionsChanges::new(self.poller.subscribe(), self.thread.id)
    }

    /// What the poller is doing, for health checks and metrics. Never blocks.
    pub fn status(&self) -> PollerStatus {
        self.poller.status()
    }

    /// Ends the poller: a request under way is cancelled, a provider call under way ends first (it is clamped), then the
    /// provider's `shutdown` is called, once. Can be called any number of times, from any clone; each call waits for the
    /// same end. The definitions can still be read afterwards.
    ///
    /// Returns at the shutdown timeout (default 5 s) at the latest. If a provider call still hangs then, the provider's
    /// `shutdown` runs when that call ends; the process can end meanwhile.
    ///
    /// # Errors
    ///
    /// [`ShutdownError`] when the timeout passed, or the provider's `shutdown` failed. Either way the poller has stopped.
    /// Refused inside a runtime, it does nothing.
    pub fn shutdown(&self) -> Result<(), BlockingError<ShutdownError>> {
        if self.must_not_block() {
            return Err(BlockingError::InsideRuntime);
        }
        let deadline = Instant::now() + self.poller.shutdown_timeout();
        self.poller.stop();
        let stopped = wait_at_most(self.poller.shutdown_timeout(), self.poller.stopped())
            .unwrap_or_else(|| Err(self.poller.not_stopped_in_time()));
        // What was spawned on the runtime and what is connected by it goes too, before its caller goes on.
        wait_at_most(
            deadline.saturating_duration_since(Instant::now()),
            self.thread.ended(),
        );
        Ok(stopped?)
    }

    /// The asynchronous handle of the same poller, for code that awaits.
    ///
    /// Its [`wait_ready`](crate::FlagDefinitionPoller::wait_ready) and
    /// [`shutdown`](crate::FlagDefinitionPoller::shutdown) take their limits from the caller's runtime, so they need one,
    /// with its timer enabled. The poller stays on its own thread.
    pub fn as_async(&self) -> &crate::FlagDefinitionPoller {
        &self.poller
    }

    fn must_not_block(&self) -> bool {
        must_not_block(self.thread.id)
    }
}

/// Whether a wait here would hold up a runtime, or this poller itself: a method of a provider may call its own poller.
pub(super) fn must_not_block(thread_of_poller: ThreadId) -> bool {
    thread::current().id() == thread_of_poller || in_a_task()
}
