//! [`FallbackTier`]: a tier after the first. It is written to, and read if the tiers before it have no copy. Its errors
//! are logged, never returned.

use parking_lot::{Mutex, MutexGuard};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, SystemTime};

use flagcache_core::{
    CopyId, FetchErrorKind, FetchOutcome, FlagDefinitionCacheData, FlagDefinitionCacheProvider,
    PollerContextOwner, PollerSchedule, ProviderError,
};

use super::guard::guarded_tier;
use crate::restore;

pub(super) struct FallbackTier {
    /// The tier's position, from 2, for the log.
    position: usize,
    provider: Box<dyn FlagDefinitionCacheProvider>,
    /// The tier's own context: its notifications and reports do not reach the poller.
    context: Mutex<Option<PollerContextOwner>>,
    seen: Mutex<HeldCopy>,
}

#[derive(Debug, Default)]
struct HeldCopy {
    /// Identifies the copy that the tier is known to hold.
    holds: Option<CopyId>,
    failing: bool,
}

impl FallbackTier {
    pub(super) fn new(position: usize, provider: Box<dyn FlagDefinitionCacheProvider>) -> Self {
        Self {
            position,
            provider,
            context: Mutex::default(),
            seen: Mutex::default(),
        }
    }

    pub(super) fn attach(&self, schedule: PollerSchedule) {
        let context = PollerContextOwner::new(schedule);
        if catch_unwind(AssertUnwindSafe(|| {
            self.provider.on_poller_attached(context.context())
        }))
        .is_err()
        {
            tracing::warn!(
                tier = self.position,
                "a fallback tier panicked when it was attached"
            );
        }
        *lock(&self.context) = Some(context);
    }

    /// The tier's copy, and how long ago it was confirmed or else fetched.
    pub(super) async fn read(
        &self,
        timeout: Duration,
    ) -> Option<(FlagDefinitionCacheData, Option<Duration>)> {
        let copy = self
            .logged(timeout, self.provider.get_flag_definitions())
            .await??;
        let confirmed_ago = lock(&self.context)
            .as_ref()
            .and_then(PollerContextOwner::take_report)
            .and_then(|it| it.confirmed_ago);
        let fetched_ago = || {
            copy.fetched_at()
                .and_then(|at| SystemTime::now().duration_since(at).ok())
        };
        let age = confirmed_ago.or_else(fetched_ago);
        lock(&self.seen).holds = Some(copy.copy_id());
        Some((copy, age))
    }

    /// Writes `data`, which the API just returned or confirmed.
    pub(super) async fn publish(
        &self,
        data: &FlagDefinitionCacheData,
        schedule: PollerSchedule,
        timeout: Duration,
    ) {
        if timeout.is_zero() {
            return;
        }
        self.renew(schedule);
        let written = self.logged(timeout, async {
            let leads = self.provider.should_fetch_flag_definitions().await?;
            self.provider.on_flag_definitions_received(data).await?;
            // A worker that does not lead in this tier only fills it if it is empty.
            if leads {
                Ok(true)
            } else {
                self.stores(data).await
            }
        });
        self.set_holds(data, written.await);
    }

    /// Copies `data`, which the first tier returned, unless the tier is known to hold it. The API did not confirm it
    /// now, so it is restored as after a failed request: the tier's time of confirmation does not change.
    pub(super) async fn copy(
        &self,
        data: &FlagDefinitionCacheData,
        schedule: PollerSchedule,
        timeout: Duration,
    ) {
        if self.holds(data) || timeout.is_zero() {
            return;
        }
        self.renew(schedule);
        let written = self.logged(timeout, async {
            let leads = self.provider.should_fetch_flag_definitions().await?;
            let unconfirmed = FetchOutcome::failed(FetchErrorKind::Connect, Some(data));
            self.provider.on_fetch_without_update(unconfirmed).await?;
            if self.stores(data).await? {
                return Ok(true);
            }
            if leads {
                // For a custom store that ignores failed requests. It keeps no confirmations either.
                self.provider.on_flag_definitions_received(data).await?;
            }
            Ok(leads)
        });
        self.set_holds(data, written.await);
    }

    /// Reports an outcome without an update to the tier, if this worker leads there.
    pub(super) async fn report(
        &self,
        outcome: FetchOutcome,
        schedule: PollerSchedule,
        timeout: Duration,
    ) {
        if let Some(data) = outcome.data().filter(|data| !self.holds(data)) {
            return if outcome.is_unchanged() {
                self.publish(data, schedule, timeout).await
            } else {
                self.copy(data, schedule, timeout).await
            };
        }
        self.renew(schedule);
        self.logged(timeout, async {
            if self.provider.should_fetch_flag_definitions().await? {
                self.provider.on_fetch_without_update(outcome).await?;
            }
            Ok(())
        })
        .await;
    }

    /// Whether the tier holds `data`, or a copy that was fetched later and stays.
    async fn stores(&self, data: &FlagDefinitionCacheData) -> Result<bool, ProviderError> {
        let copy = self.provider.get_flag_definitions().await?;
        Ok(copy.is_some_and(|copy| !restore::must_replace(&copy, data, false)))
    }

    fn set_holds(&self, data: &FlagDefinitionCacheData, written: Option<bool>) {
        lock(&self.seen).holds = (written == Some(true)).then(|| data.copy_id());
    }

    pub(super) async fn shut_down(&self, timeout: Duration) {
        self.logged(timeout, self.provider.shutdown()).await;
    }

    fn holds(&self, data: &FlagDefinitionCacheData) -> bool {
        lock(&self.seen).holds == Some(data.copy_id())
    }

    fn renew(&self, schedule: PollerSchedule) {
        if let Some(context) = &*lock(&self.context) {
            context.set_schedule(schedule);
        }
    }

    /// Logs the first error of the tier, and its recovery.
    async fn logged<T>(
        &self,
        timeout: Duration,
        call: impl Future<Output = Result<T, ProviderError>>,
    ) -> Option<T> {
        let answer = guarded_tier(timeout, call).await;
        let was_failing = std::mem::replace(&mut lock(&self.seen).failing, answer.is_err());
        match &answer {
            Err(error) if !was_failing => {
                let cause = std::error::Error::source(error).map(ToString::to_string);
                // As strings, which are logged escaped: the text of a store is untrusted.
                tracing::warn!(
                    tier = self.position,
                    error = error.to_string(),
                    cause,
                    "a fallback tier failed"
                );
            }
            Ok(_) if was_failing => {
                tracing::info!(tier = self.position, "a fallback tier recovered")
            }
            _ => {}
        }
        answer.ok()
    }
}

impl fmt::Debug for FallbackTier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FallbackTier")
            .field("position", &self.position)
            .field("seen", &self.seen)
            .finish_non_exhaustive()
    }
}

// No code panics while it holds one of these locks, so the data behind a poisoned one is consistent.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock()
}
