//! [`FlagDefinitionPollerBuilder`]: configures and starts a poller.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::runtime;
use tokio::sync::broadcast;
use tokio::time::Instant;

use super::FlagDefinitionPoller;
use super::state::Shared;
use super::task::{TaskConfig, TaskSlot};
use crate::duration::clamped;
use crate::lifecycle::{Machine, Policy};
use crate::poller::changes::CHANGES_CAPACITY;
use crate::poller::guard::Guard;
use crate::{
    FlagDefinitionCacheProvider, FlagDefinitionSource, OnQuotaLimited, OnUnauthorized,
    OnWastedUnits, PollerContextOwner, PollerSchedule, ReadFailure,
};

/// Configures a [`FlagDefinitionPoller`]; from [`FlagDefinitionPoller::builder`].
///
/// `Handle` is the type that `start` returns: the asynchronous handle, or the
/// [blocking](crate::blocking::FlagDefinitionPoller) one. The options are the same for both.
///
/// Durations over one year (such as `Duration::MAX`) are clamped to one year.
#[must_use = "a poller does nothing until it is started"]
pub struct FlagDefinitionPollerBuilder<Handle = FlagDefinitionPoller> {
    source: Option<Arc<dyn FlagDefinitionSource>>,
    provider: Option<Box<dyn FlagDefinitionCacheProvider>>,
    poll_interval: Duration,
    provider_timeout: Duration,
    fetch_timeout: Duration,
    shutdown_timeout: Duration,
    cold_start_wait: Duration,
    hedge_after: Option<Duration>,
    fail_open_interval: Option<Duration>,
    max_staleness: Option<Duration>,
    notification_jitter: Duration,
    read_failure: ReadFailure,
    on_unauthorized: OnUnauthorized,
    on_quota_limited: OnQuotaLimited,
    on_wasted_units: OnWastedUnits,
    hold_back_removals: Option<f64>,
    manual: bool,
    handle: PhantomData<fn() -> Handle>,
}

impl<Handle> std::fmt::Debug for FlagDefinitionPollerBuilder<Handle> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FlagDefinitionPollerBuilder")
            .field("has_source", &self.source.is_some())
            .field("has_provider", &self.provider.is_some())
            .field("poll_interval", &self.poll_interval)
            .finish_non_exhaustive()
    }
}

impl<Handle> FlagDefinitionPollerBuilder<Handle> {
    pub(crate) fn new() -> Self {
        Self {
            source: None,
            provider: None,
            poll_interval: Duration::from_secs(30),
            provider_timeout: Duration::from_secs(2),
            fetch_timeout: Duration::from_secs(15),
            shutdown_timeout: Duration::from_secs(5),
            cold_start_wait: Duration::from_secs(5),
            hedge_after: Some(Duration::from_secs(1)),
            fail_open_interval: None,
            max_staleness: None,
            notification_jitter: Duration::ZERO,
            read_failure: ReadFailure::default(),
            on_unauthorized: OnUnauthorized::default(),
            on_quota_limited: OnQuotaLimited::default(),
            on_wasted_units: OnWastedUnits::default(),
            hold_back_removals: None,
            manual: false,
            handle: PhantomData,
        }
    }

    /// Where to fetch definitions from. Without a source, or with one that has no secret key, the poller only reads
    /// from the cache.
    pub fn source(self, source: impl FlagDefinitionSource) -> Self {
        self.shared_source(Arc::new(source))
    }

    /// Like [`source`](Self::source), for a source that several pollers share.
    pub fn shared_source(mut self, source: Arc<dyn FlagDefinitionSource>) -> Self {
        self.source = Some(source);
        self
    }

    /// The store that this worker shares with others. Without one the poller polls the API by itself.
    ///
    /// One provider serves one poller, because it keeps the state of its poller's current load. Each bundled store
    /// creates one per poller with `store.provider()`. A shared provider does not compile:
    ///
    /// ```compile_fail,E0277
    /// # use std::sync::Arc;
    /// # use flagcache_core::{FlagDefinitionCacheProvider, FlagDefinitionPoller};
    /// # fn start(provider: Arc<dyn FlagDefinitionCacheProvider>) {
    /// FlagDefinitionPoller::builder().flag_definition_cache_provider(provider);
    /// # }
    /// ```
    pub fn flag_definition_cache_provider(
        mut self,
        provider: impl FlagDefinitionCacheProvider,
    ) -> Self {
        self.provider = Some(Box::new(provider));
        self
    }

    /// The time from the end of one load to the start of the next, with 10 % jitter. Default 30 s.
    pub fn poll_interval(mut self, interval: Duration) -> Self {
        self.poll_interval = clamped(interval);
        self
    }

    /// The timeout of one provider call; a later result is ignored. Default 2 s.
    pub fn provider_timeout(mut self, limit: Duration) -> Self {
        self.provider_timeout = clamped(limit);
        self
    }

    /// The timeout of one request, for sources without a timeout of their own. Default 15 s.
    pub fn fetch_timeout(mut self, limit: Duration) -> Self {
        self.fetch_timeout = clamped(limit);
        self
    }

    /// The time after which [`shutdown`](FlagDefinitionPoller::shutdown) returns even if a call still hangs. Default 5
    /// s.
    pub fn shutdown_timeout(mut self, limit: Duration) -> Self {
        self.shutdown_timeout = clamped(limit);
        self
    }

    /// How long a follower without definitions waits for the leader to fill an empty cache before it fetches by itself.
    /// Default 5 s. Zero fetches at once, as PostHog's other SDKs do.
    pub fn cold_start_wait(mut self, wait: Duration) -> Self {
        self.cold_start_wait = clamped(wait);
        self
    }

    /// How long a worker without definitions waits for its store's answer before it fetches in parallel, so that a hung
    /// store does not keep a new worker from its flags. Default 1 s. `None` waits for the provider timeout.
    pub fn hedge_after(mut self, after: impl Into<Option<Duration>>) -> Self {
        self.hedge_after = after.into().map(clamped);
        self
    }

    /// The minimum time between two requests of a worker with definitions whose store fails. Default four poll
    /// intervals. Up to 10 % is added at random.
    pub fn fail_open_interval(mut self, interval: Duration) -> Self {
        self.fail_open_interval = Some(clamped(interval));
        self
    }

    /// The age from which an unconfirmed copy counts as stale; followers then fetch, at most once per fail-open
    /// interval. Default the longer of 5 minutes and ten poll intervals.
    pub fn max_staleness(mut self, age: Duration) -> Self {
        self.max_staleness = Some(clamped(age));
        self
    }

    /// The maximum jitter between a notification of the store and the load that follows. Default zero: all workers load
    /// at once, and see a change at once.
    ///
    /// For thousands of workers on one store, which would otherwise all read the changed definitions at the same
    /// moment. A worker without definitions never waits. After a leader shuts down, its successor may be delayed by as
    /// much.
    pub fn notification_jitter(mut self, spread: Duration) -> Self {
        self.notification_jitter = clamped(spread);
        self
    }

    /// What a worker with definitions does when its store fails. Default [`ReadFailure::Fetch`].
    pub fn read_failure(mut self, policy: ReadFailure) -> Self {
        self.read_failure = policy;
        self
    }

    /// What to do with the definitions in memory on a 401 or 403. Default [`OnUnauthorized::Keep`].
    pub fn on_unauthorized(mut self, policy: OnUnauthorized) -> Self {
        self.on_unauthorized = policy;
        self
    }

    /// What to do with the definitions in memory on a 402. Default [`OnQuotaLimited::Keep`].
    pub fn on_quota_limited(mut self, policy: OnQuotaLimited) -> Self {
        self.on_quota_limited = policy;
        self
    }

    /// What to do when the API answers 200 with the definitions that are already held, at ten times the cost of a 304.
    /// Default [`OnWastedUnits::Keep`], which only warns.
    pub fn on_wasted_units(mut self, policy: OnWastedUnits) -> Self {
        self.on_wasted_units = policy;
        self
    }

    /// Holds back a change that removes more than this share of the flags (`0.5` for half of them), or all group types,
    /// or all cohorts, and logs an error with the numbers. Default off.
    ///
    /// The answer to the first request one tick later decides: if it removes no more, it is installed and published; if it
    /// removes more, it is held back for another tick; if it removes little, the held change is dropped. So an accident
    /// that is undone within a tick does not reach the fleet, and an intended change is delayed by a tick, never blocked.
    /// Meanwhile the workers keep their flags. A worker without definitions has nothing to compare with, and accepts any.
    ///
    /// It needs a poller that lives for two ticks: a job that loads once and ends would hold back the same change each time.
    pub fn hold_back_removals(mut self, share: f64) -> Self {
        self.hold_back_removals = Some(share);
        self
    }

    /// No background loads, only [`refresh`](FlagDefinitionPoller::refresh) and
    /// [`refresh_if_older_than`](FlagDefinitionPoller::refresh_if_older_than). For serverless functions, which are
    /// suspended between calls.
    pub fn manual(mut self) -> Self {
        self.manual = true;
        self
    }

    /// Starts the poller on this runtime, which must be the current one.
    pub(crate) fn start_on(
        self,
        runtime: runtime::Handle,
    ) -> Result<FlagDefinitionPoller, StartError> {
        for (option, duration) in [
            ("poll_interval", self.poll_interval),
            ("provider_timeout", self.provider_timeout),
            ("fetch_timeout", self.fetch_timeout),
        ] {
            if duration.is_zero() {
                return Err(StartError::ZeroDuration { option });
            }
        }
        let can_fetch = self
            .source
            .as_ref()
            .is_some_and(|source| source.can_fetch());
        if self.provider.is_none() && !can_fetch {
            return Err(StartError::NothingToLoadFrom);
        }
        let policy = Policy {
            poll_interval: self.poll_interval,
            cold_start_wait: self.cold_start_wait,
            hedge_after: self.hedge_after,
            fail_open_interval: self
                .fail_open_interval
                .unwrap_or(self.poll_interval.saturating_mul(4)),
            max_staleness: self.max_staleness.unwrap_or_else(|| {
                self.poll_interval
                    .saturating_mul(10)
                    .max(Duration::from_secs(300))
            }),
            notification_jitter: self.notification_jitter,
            read_failure: self.read_failure,
            on_unauthorized: self.on_unauthorized,
            on_quota_limited: self.on_quota_limited,
            on_wasted_units: self.on_wasted_units,
            hold_back_removals: self.hold_back_removals,
            manual: self.manual,
            has_provider: self.provider.is_some(),
            can_fetch,
        };
        let mut schedule = PollerSchedule::new(self.poll_interval);
        schedule.provider_timeout = self.provider_timeout;
        schedule.max_staleness = policy.max_staleness;
        schedule.manual = self.manual;
        let context = PollerContextOwner::new(schedule);

        let guard = self
            .provider
            .map(|provider| Guard::new(provider, self.provider_timeout));
        // An error of this optional method is only logged: the required methods may still work.
        let attached = guard
            .as_ref()
            .map_or(Ok(()), |guard| guard.attach(context.context()));
        let changes = broadcast::Sender::new(CHANGES_CAPACITY);
        let shared = Arc::new(Shared::new(policy.max_staleness, &changes));
        let config = TaskConfig {
            machine: Machine::new(policy, Instant::now(), fastrand::u64(..)),
            guard,
            source: self.source,
            fetch_timeout: self.fetch_timeout,
            schedule,
            context,
            attached,
            shared: Arc::clone(&shared),
            changes,
        };
        let slot = TaskSlot::new(config, runtime);
        Ok(FlagDefinitionPoller {
            shared,
            slot,
            shutdown_timeout: self.shutdown_timeout,
        })
    }
}

impl FlagDefinitionPollerBuilder {
    /// Starts the poller on the current tokio runtime. Waits for nothing: the first load runs in the background, so a
    /// store that is down does not delay the start of the process.
    ///
    /// # Errors
    ///
    /// [`StartError`] if the configuration cannot work. In that case nothing was started, and the provider was not
    /// called.
    pub fn start(self) -> Result<FlagDefinitionPoller, StartError> {
        let runtime = runtime::Handle::try_current().map_err(|_| StartError::NoRuntime)?;
        self.start_on(runtime)
    }
}

/// Why a poller could not be started.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StartError {
    /// `start` was called outside a tokio runtime.
    #[error(
        "a poller runs on tokio; call `start` inside a runtime, such as under `#[tokio::main]`, or use \
         `flagcache::blocking` in a program without one"
    )]
    NoRuntime,
    /// The system could not create a thread or an event queue for a poller of the [blocking handle](crate::blocking).
    #[error("cannot start a thread for the poller: {error}")]
    NoThread {
        /// The system's error message.
        error: String,
    },
    /// There is neither a provider to read from nor a source with a secret key to fetch from.
    #[error(
        "nothing to load from; give the poller a cache provider, or a source with a secret key"
    )]
    NothingToLoadFrom,
    /// An interval or timeout is zero.
    #[error("`{option}` must be longer than zero")]
    ZeroDuration {
        /// The name of the builder's method.
        option: &'static str,
    },
}
