//! A tier behind the first: written to, and read when nothing better is to be had. No fault of it gets out.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use flagcache_core::{
    CopyId, FetchErrorKind, FetchOutcome, FlagDefinitionCacheData, FlagDefinitionCacheProvider,
    PollerContextOwner, PollerSchedule, ProviderError,
};

use super::guard::guarded_tier;
use crate::restore;

pub(super) struct FallbackTier {
    /// Its place, from 2: for the log.
    place: usize,
    provider: Box<dyn FlagDefinitionCacheProvider>,
    /// The tier's line ends here: its notifications and reports are not the fleet's.
    line: Mutex<Option<PollerContextOwner>>,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// What the tier is known to hold.
    holds: Option<CopyId>,
    failing: bool,
}

impl FallbackTier {
    pub(super) fn new(place: usize, provider: Box<dyn FlagDefinitionCacheProvider>) -> Self {
        Self {
            place,
            provider,
            line: Mutex::default(),
            seen: Mutex::default(),
        }
    }

    pub(super) fn attach(&self, schedule: PollerSchedule) {
        let line = PollerContextOwner::new(schedule);
        if catch_unwind(AssertUnwindSafe(|| {
            self.provider.on_poller_attached(line.link())
        }))
        .is_err()
        {
            tracing::warn!(
                tier = self.place,
                "a tier behind the first panicked when it was attached"
            );
        }
        *lock(&self.line) = Some(line);
    }

    /// The tier's copy and how long ago it was confirmed, or at least fetched.
    pub(super) async fn read(
        &self,
        limit: Duration,
    ) -> Option<(FlagDefinitionCacheData, Option<Duration>)> {
        let copy = self
            .logged(limit, self.provider.get_flag_definitions())
            .await??;
        let confirmed_ago = lock(&self.line)
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
        limit: Duration,
    ) {
        if limit.is_zero() {
            return;
        }
        self.renew(schedule);
        let written = self.logged(limit, async {
            let leads = self.provider.should_fetch_flag_definitions().await?;
            self.provider.on_flag_definitions_received(data).await?;
            // A worker that does not lead there only fills an empty tier.
            if leads {
                Ok(true)
            } else {
                self.stores(data).await
            }
        });
        self.set_holds(data, written.await);
    }

    /// Copies `data`, which the first tier returned, unless the tier is known to hold it. The API did not confirm it now, so
    /// it is put back as after a failed request: the tier's confirmation keeps its time.
    pub(super) async fn copy(
        &self,
        data: &FlagDefinitionCacheData,
        schedule: PollerSchedule,
        limit: Duration,
    ) {
        if self.holds(data) || limit.is_zero() {
            return;
        }
        self.renew(schedule);
        let written = self.logged(limit, async {
            let leads = self.provider.should_fetch_flag_definitions().await?;
            let unconfirmed = FetchOutcome::failed(FetchErrorKind::Connect, Some(data));
            self.provider.on_fetch_without_update(unconfirmed).await?;
            if self.stores(data).await? {
                return Ok(true);
            }
            if leads {
                // A store of the user's own that ignores failed requests. It keeps no confirmations either.
                self.provider.on_flag_definitions_received(data).await?;
            }
            Ok(leads)
        });
        self.set_holds(data, written.await);
    }

    /// Reports a load without news to the tier, if this worker leads there.
    pub(super) async fn tell(
        &self,
        outcome: FetchOutcome<'_>,
        schedule: PollerSchedule,
        limit: Duration,
    ) {
        if let Some(data) = outcome.data().filter(|data| !self.holds(data)) {
            return if outcome.is_unchanged() {
                self.publish(data, schedule, limit).await
            } else {
                self.copy(data, schedule, limit).await
            };
        }
        self.renew(schedule);
        self.logged(limit, async {
            if self.provider.should_fetch_flag_definitions().await? {
                self.provider.on_fetch_without_update(outcome).await?;
            }
            Ok(())
        })
        .await;
    }

    /// Whether the tier holds `data`, or a copy that was fetched later, which stays.
    async fn stores(&self, data: &FlagDefinitionCacheData) -> Result<bool, ProviderError> {
        let copy = self.provider.get_flag_definitions().await?;
        Ok(copy.is_some_and(|copy| !restore::must_replace(&copy, data, false)))
    }

    fn set_holds(&self, data: &FlagDefinitionCacheData, written: Option<bool>) {
        lock(&self.seen).holds = (written == Some(true)).then(|| data.copy_id());
    }

    pub(super) async fn shut_down(&self, limit: Duration) {
        self.logged(limit, self.provider.shutdown()).await;
    }

    fn holds(&self, data: &FlagDefinitionCacheData) -> bool {
        lock(&self.seen).holds == Some(data.copy_id())
    }

    fn renew(&self, schedule: PollerSchedule) {
        if let Some(line) = &*lock(&self.line) {
            line.set_schedule(schedule);
        }
    }

    /// What went wrong behind the first tier is logged when it begins and when it is over, and is nobody else's affair.
    async fn logged<T>(
        &self,
        limit: Duration,
        call: impl Future<Output = Result<T, ProviderError>>,
    ) -> Option<T> {
        let answer = guarded_tier(limit, call).await;
        let was_failing = std::mem::replace(&mut lock(&self.seen).failing, answer.is_err());
        match &answer {
            Err(error) if !was_failing => {
                let cause = std::error::Error::source(error).map(ToString::to_string);
                // As strings, which are written with escapes: what a store says is another's word.
                tracing::warn!(
                    tier = self.place,
                    error = error.to_string(),
                    cause,
                    "a tier behind the first fails"
                );
            }
            Ok(_) if was_failing => {
                tracing::info!(tier = self.place, "a tier behind the first works again")
            }
            _ => {}
        }
        answer.ok()
    }
}

impl fmt::Debug for FallbackTier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FallbackTier")
            .field("place", &self.place)
            .field("seen", &self.seen)
            .finish_non_exhaustive()
    }
}

// Nothing panics while one of these is held; a poisoned lock is still whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
