//! A store in memory with every capability, in plain methods.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use flagcache::{
    DataError, FetchErrorKind, FetchOutcome, FlagDefinitionCacheData, FlagDefinitionCacheProvider,
    FleetFailure, FleetStatus, PollerContext,
};
use flagcache_providers::testing::conformance::TestStore;

pub(crate) const LEASE: Duration = Duration::from_secs(1);

/// What all workers share.
#[derive(Default)]
struct State {
    copy: Option<Bytes>,
    leader: Option<(u64, Instant)>,
    confirmed_at: Option<Instant>,
    quota_limited: bool,
    failure: Option<(FleetFailure, Instant)>,
    contexts: HashMap<u64, PollerContext>,
    steps_down_until: HashMap<u64, Instant>,
}

/// One worker's access to the store. Its clones are the same worker.
#[derive(Clone)]
pub(crate) struct WorkerHandle {
    worker: u64,
    state: Arc<Mutex<State>>,
}

impl WorkerHandle {
    pub(crate) fn attach(&self, context: PollerContext) {
        self.state().contexts.insert(self.worker, context);
    }

    pub(crate) fn decide(&self) -> bool {
        let now = Instant::now();
        let mut state = self.state();
        let steps_down = state
            .steps_down_until
            .get(&self.worker)
            .is_some_and(|until| *until > now);
        let another_leads = state
            .leader
            .is_some_and(|(leader, ends_at)| leader != self.worker && ends_at > now);
        let failure = state
            .failure
            .map(|(failure, at)| failure.with_age(now - at));
        let key = state
            .contexts
            .get(&self.worker)
            .and_then(PollerContext::schedule)
            .and_then(|schedule| schedule.key);
        let barred = failure.is_some_and(|failure| failure.bars(key));
        let leads = !steps_down && !another_leads && !barred;
        if leads {
            state.leader = Some((self.worker, now + LEASE));
        }
        if let Some(context) = state.contexts.get(&self.worker) {
            let report = FleetStatus::new()
                .confirmed_ago(state.confirmed_at.map(|at| now - at))
                .lease_ends_in(
                    state
                        .leader
                        .map(|(_, ends_at)| ends_at.saturating_duration_since(now)),
                )
                .quota_limited(state.quota_limited)
                .fleet_failure(failure);
            context.report(report);
        }
        leads
    }

    pub(crate) fn read(&self) -> Result<Option<FlagDefinitionCacheData>, DataError> {
        let copy = self.state().copy.clone();
        copy.map(FlagDefinitionCacheData::from_json).transpose()
    }

    pub(crate) fn write(&self, data: &FlagDefinitionCacheData) {
        let mut state = self.state();
        if self.leads(&state) {
            state.confirmed_at = Some(Instant::now());
            state.quota_limited = false;
            state.failure = None;
        } else if state.copy.is_some() {
            return;
        }
        state.copy = Some(data.to_json());
        self.notify_others(&state);
    }

    pub(crate) fn fetched_nothing_new(&self, outcome: &FetchOutcome) {
        let mut state = self.state();
        if let Some(duration) = outcome.step_down_for() {
            state
                .steps_down_until
                .insert(self.worker, Instant::now() + duration);
        }
        if !self.leads(&state) {
            return;
        }
        if outcome.is_unchanged() {
            state.confirmed_at = Some(Instant::now());
            state.failure = None;
        }
        if let Some(failure) = outcome.fleet_failure() {
            state.failure = Some((failure, Instant::now()));
        }
        state.quota_limited = outcome.failure() == Some(FetchErrorKind::QuotaLimited);
        if let Some(copy) = outcome.data().map(FlagDefinitionCacheData::to_json) {
            let is_damaged = outcome.is_unchanged() && state.copy.as_ref() != Some(&copy);
            if state.copy.is_none() || is_damaged {
                state.copy = Some(copy);
                self.notify_others(&state);
            }
        }
        if outcome.step_down_for().is_some() {
            state.leader = None;
            self.notify_others(&state);
        }
    }

    pub(crate) fn end(&self) {
        let mut state = self.state();
        state.contexts.remove(&self.worker);
        if self.leads(&state) {
            state.leader = None;
            self.notify_others(&state);
        }
    }

    fn leads(&self, state: &State) -> bool {
        state
            .leader
            .is_some_and(|(leader, _)| leader == self.worker)
    }

    fn notify_others(&self, state: &State) {
        state
            .contexts
            .iter()
            .filter(|(worker, _)| **worker != self.worker)
            .for_each(|(_, context)| context.notify_changed());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

/// A state, and how a worker makes a provider of its access to it.
pub(crate) struct Store {
    state: Arc<Mutex<State>>,
    next: AtomicU64,
    provider: fn(WorkerHandle) -> Arc<dyn FlagDefinitionCacheProvider>,
}

impl Store {
    pub(crate) fn of(provider: fn(WorkerHandle) -> Arc<dyn FlagDefinitionCacheProvider>) -> Self {
        Self {
            state: Arc::default(),
            next: AtomicU64::new(0),
            provider,
        }
    }
}

#[async_trait::async_trait]
impl TestStore for Store {
    fn provider(&self) -> Arc<dyn FlagDefinitionCacheProvider> {
        let worker = self.next.fetch_add(1, Ordering::Relaxed);
        (self.provider)(WorkerHandle {
            worker,
            state: Arc::clone(&self.state),
        })
    }

    fn lease_time(&self) -> Duration {
        LEASE
    }

    async fn damage(&self, copy: Option<Bytes>) {
        self.state.lock().unwrap().copy = copy;
    }
}
