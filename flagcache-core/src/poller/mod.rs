//! [`FlagDefinitionPoller`]: the handle of a poller.

pub(crate) mod blocking_calls;
mod builder;
pub(crate) mod changes;
pub(crate) mod error;
pub(crate) mod guard;
pub(crate) mod meter;
pub(crate) mod observer;
pub(crate) mod refresh_once;
mod refresh_requests;
mod sharded;
mod state;
pub(crate) mod status;
mod task;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

pub use builder::{FlagDefinitionPollerBuilder, StartError};
use state::{Outcome, Readiness, Shared};
use task::Request;
pub use watch::{DefinitionsWatch, WatchedDefinitions};

use crate::duration::clamped;
use crate::{
    DefinitionsChanges, FlagDefinitionCacheData, NotReadyError, PollerStatus, RefreshError, Role,
    ShutdownError,
};

/// Keeps this process's flag definitions current: calls the provider's decision, fetches or reads, publishes, shuts
/// down.
///
/// The handle is cheap to clone; all clones refer to the same poller. Dropping the last one shuts the poller down in
/// the background, like [`shutdown`](Self::shutdown), but does not wait: if the runtime ends first, the provider's
/// `shutdown` is not called and its lock is released by TTL, or by the operating system.
///
/// An error never breaks flag evaluation: whatever fails, [`definitions`](Self::definitions) keeps returning the last
/// good definitions.
#[derive(Clone, Debug)]
pub struct FlagDefinitionPoller {
    shared: Arc<Shared>,
    slot: Arc<task::TaskSlot>,
    shutdown_timeout: Duration,
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
        self.shared.definitions()
    }

    /// Waits until there are definitions, for at most `timeout`. Definitions without flags count.
    ///
    /// In manual mode nothing loads by itself: call [`refresh`](Self::refresh) instead. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`NotReadyError`] if the timeout passed or the poller was shut down. After a timeout the poller keeps trying.
    pub async fn wait_ready(&self, timeout: Duration) -> Result<(), NotReadyError> {
        let deadline = Instant::now() + clamped(timeout);
        timeout_at(deadline, self.ready())
            .await
            .unwrap_or_else(|_| Err(self.not_ready_within(timeout)))
    }

    /// [`wait_ready`](Self::wait_ready) without a timeout, which needs no runtime.
    pub(crate) async fn ready(&self) -> Result<(), NotReadyError> {
        match self
            .shared
            .readiness()
            .wait_for(|now| now.ready || now.ending.is_some())
            .await
        {
            Ok(now) if now.ready => Ok(()),
            _ => Err(NotReadyError::Stopped),
        }
    }

    pub(crate) fn not_ready_within(&self, timeout: Duration) -> NotReadyError {
        let status = self.status();
        match status.last_error {
            None if status.role == Role::Reader => NotReadyError::NothingStored { timeout },
            last_error => NotReadyError::Timeout {
                timeout,
                last_error,
            },
        }
    }

    /// Loads now: one decision, then one read or one request. Joins a load in progress; any number of concurrent
    /// callers share one load.
    ///
    /// A request that is suppressed by backoff (429, 402, repeated failures) stays suppressed. Cancel safe: the load
    /// continues without its caller.
    ///
    /// # Errors
    ///
    /// [`RefreshError`] if the load met an error. The definitions in memory are kept and usable.
    pub async fn refresh(&self) -> Result<(), RefreshError> {
        let (reply, answer) = oneshot::channel();
        self.slot.send(Request::Refresh(reply));
        match answer.await {
            Ok(None) => Ok(()),
            Ok(Some(error)) => Err(error.into()),
            Err(_) => Err(RefreshError::Stopped),
        }
    }

    /// Calls [`refresh`](Self::refresh), unless a load has succeeded within `age`. For serverless handlers, at the
    /// start of each call.
    ///
    /// # Errors
    ///
    /// As [`refresh`](Self::refresh).
    pub async fn refresh_if_older_than(&self, age: Duration) -> Result<(), RefreshError> {
        if self.is_older_than(age) {
            self.refresh().await
        } else {
            Ok(())
        }
    }

    pub(crate) fn is_older_than(&self, age: Duration) -> bool {
        self.status().last_success_ago.is_none_or(|ago| ago >= age)
    }

    /// Requests a refresh of the whole fleet, from any worker. The leader asks the API at once, and again after 1 and 3 s
    /// while the answer is 304, because PostHog may still answer from a cache of its own after a change.
    ///
    /// Call it when you learn that a flag has changed, for example in a webhook. If the store carries requests to
    /// the leader, any number of them, from any number of workers, causes at most one additional API request per second
    /// in the fleet, and none while a backoff (429, 402, 401, repeated failures) suppresses requests. If no worker leads
    /// at the moment, the next leader asks.
    ///
    /// Returns as soon as the request is handed to the store, usually in one exchange with it: at the latest after
    /// 0.1 s and two provider timeouts. `Ok` does not mean that definitions have changed: follow them with
    /// [`subscribe`](Self::subscribe). A provider without
    /// [`request_refresh`](crate::FlagDefinitionCacheProvider::request_refresh) carries no requests; with such a
    /// provider, or without a provider, this worker asks the API itself, at most once a second.
    ///
    /// Cancel safe: a request that was sent is carried out even if the call is dropped.
    ///
    /// # Errors
    ///
    /// [`RefreshError`] if the store could not take the request, or the poller is shut down. Nothing else changes, and
    /// the next tick fetches as always.
    pub async fn request_refresh(&self) -> Result<(), RefreshError> {
        let (reply, answer) = oneshot::channel();
        self.slot.send(Request::Leader(reply));
        match answer.await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(RefreshError::Stopped),
        }
    }

    /// Subscribes to changes: one event per change from now on.
    pub fn subscribe(&self) -> DefinitionsChanges {
        self.shared.subscribe()
    }

    /// The poller's state, for health checks and metrics.
    pub fn status(&self) -> PollerStatus {
        self.shared.status()
    }

    /// Shuts the poller down: cancels a request in progress, waits for a provider call in progress (which has a
    /// timeout), then calls the provider's `shutdown`, once. Can be called any number of times, from any clone; each
    /// call waits for the same end. The definitions remain readable.
    ///
    /// Returns after the shutdown timeout (default 5 s) at the latest. If a provider call still hangs then, the
    /// provider's `shutdown` is called when that call returns. Cancel safe: the shutdown continues without its caller.
    ///
    /// # Errors
    ///
    /// [`ShutdownError`] if the timeout passed, or the provider's `shutdown` failed. The poller has stopped in both
    /// cases.
    pub async fn shutdown(&self) -> Result<(), ShutdownError> {
        let deadline = Instant::now() + self.shutdown_timeout;
        self.stop();
        timeout_at(deadline, self.stopped())
            .await
            .unwrap_or_else(|_| Err(self.not_stopped_in_time()))
    }

    /// Requests the shutdown without waiting for it.
    pub(crate) fn stop(&self) {
        self.slot.send(Request::Stop);
    }

    /// Waits for the end of the poller, without a timeout, which needs no runtime.
    pub(crate) fn stopped(&self) -> impl Future<Output = Result<(), ShutdownError>> + Send + use<> {
        // Not the handle itself: a waiting caller must not keep the poller running.
        let mut readiness = self.shared.readiness();
        async move {
            match readiness
                .wait_for(|now| now.ending.is_some())
                .await
                .as_deref()
            {
                Ok(Readiness {
                    ending: Some(Outcome::ProviderFailed(error)),
                    ..
                }) => Err(ShutdownError::Provider(Arc::clone(error))),
                // Fails when the poller and all its handles are gone.
                _ => Ok(()),
            }
        }
    }

    pub(crate) fn shutdown_timeout(&self) -> Duration {
        self.shutdown_timeout
    }

    pub(crate) fn not_stopped_in_time(&self) -> ShutdownError {
        ShutdownError::Timeout {
            timeout: self.shutdown_timeout,
        }
    }
}
