//! [`Shared`]: the state that the poller's task writes and its handles read.

use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;

use super::sharded::ShardedDefinitions;
use crate::poller::status::PollerCounters;
use crate::{
    DefinitionsChange, DefinitionsChanges, DefinitionsOrigin, FetchErrorKind,
    FlagDefinitionCacheData, LoadError, PollerState, PollerStatus, ProviderError, Role,
};

/// How the poller ended.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    Clean,
    ProviderFailed(Arc<ProviderError>),
}

#[derive(Clone, Debug, Default)]
pub(super) struct Readiness {
    pub(super) ready: bool,
    /// Counts every replacement and clearing, whether it is a change or not.
    pub(super) installs: u64,
    pub(super) ending: Option<Outcome>,
}

/// The status with instants, from which a reader computes ages.
#[derive(Clone, Debug)]
pub(super) struct TaskStatus {
    pub(super) role: Role,
    pub(super) origin: Option<DefinitionsOrigin>,
    pub(super) version: u64,
    /// Whether the API refuses the keys or the quota is used up, as the machine reports it.
    pub(super) refusal: Option<FetchErrorKind>,
    pub(super) api_failure: Option<FetchErrorKind>,
    pub(super) unconfirmed: bool,
    pub(super) confirmed_at: Option<Instant>,
    pub(super) last_success_at: Option<Instant>,
    pub(super) backoff_ends_at: Option<Instant>,
    pub(super) last_error: Option<LoadError>,
    pub(super) counters: PollerCounters,
    pub(super) units_per_day: Option<u64>,
}

#[derive(Debug)]
pub(super) struct Shared {
    current: ArcSwapOption<ShardedDefinitions>,
    /// Weak: the task owns the channel, so that subscribers notice its end.
    changes: broadcast::WeakSender<DefinitionsChange>,
    readiness: watch::Sender<Readiness>,
    status: Mutex<TaskStatus>,
    max_staleness: Duration,
}

impl Shared {
    pub(super) fn new(
        max_staleness: Duration,
        changes: &broadcast::Sender<DefinitionsChange>,
    ) -> Self {
        Self {
            current: ArcSwapOption::empty(),
            changes: changes.downgrade(),
            readiness: watch::Sender::new(Readiness::default()),
            status: Mutex::new(TaskStatus {
                role: Role::Undecided,
                origin: None,
                version: 0,
                refusal: None,
                api_failure: None,
                unconfirmed: false,
                confirmed_at: None,
                last_success_at: None,
                backoff_ends_at: None,
                last_error: None,
                counters: PollerCounters::default(),
                units_per_day: None,
            }),
            max_staleness,
        }
    }

    pub(super) fn definitions(&self) -> Option<FlagDefinitionCacheData> {
        self.current
            .load()
            .as_deref()
            .map(|handles| handles.here().clone())
    }

    /// One atomic swap: a reader sees either the old or the new definitions.
    pub(super) fn install(&self, data: Option<FlagDefinitionCacheData>) {
        self.current
            .store(data.map(|data| Arc::new(ShardedDefinitions::new(data))));
        self.readiness.send_modify(|now| now.installs += 1);
    }

    /// Wakes the callers of `wait_ready` if there are definitions. After the status is set, so that they see a matching
    /// status.
    pub(super) fn announce(&self) {
        let ready = self.current.load().is_some();
        self.readiness
            .send_if_modified(|now| std::mem::replace(&mut now.ready, ready) != ready);
    }

    pub(super) fn subscribe(&self) -> DefinitionsChanges {
        // Subscribe first: a change in between is then seen twice, not missed.
        let receiver = match self.changes.upgrade() {
            Some(changes) => changes.subscribe(),
            // The poller has ended: return a closed channel.
            None => broadcast::channel(1).1,
        };
        DefinitionsChanges::new(receiver, self.definitions())
    }

    pub(super) fn readiness(&self) -> watch::Receiver<Readiness> {
        self.readiness.subscribe()
    }

    pub(super) fn ended(&self, ending: Outcome) {
        self.readiness.send_modify(|now| now.ending = Some(ending));
    }

    /// Held only for a copy; readers of definitions never take this lock.
    pub(super) fn task_status(&self) -> MutexGuard<'_, TaskStatus> {
        self.status.lock()
    }

    pub(super) fn status(&self) -> PollerStatus {
        let status = self.task_status().clone();
        let flags = self
            .current
            .load()
            .as_deref()
            .map(|handles| handles.here().len());
        let now = Instant::now();
        let ago = |at: Option<Instant>| at.map(|at| now.saturating_duration_since(at));
        let confirmed_ago = ago(status.confirmed_at);
        let stale = status.unconfirmed || confirmed_ago.is_none_or(|ago| ago >= self.max_staleness);
        let state = if self.readiness.borrow().ending.is_some() {
            PollerState::Stopped
        } else if status.refusal == Some(FetchErrorKind::QuotaLimited) {
            PollerState::QuotaLimited
        } else if status.refusal == Some(FetchErrorKind::Unauthorized) {
            PollerState::Unauthorized
        } else if flags.is_none() {
            PollerState::Starting
        } else if stale {
            PollerState::Stale
        } else {
            PollerState::Ready
        };
        PollerStatus {
            state,
            role: status.role,
            origin: status.origin,
            version: status.version,
            flags,
            confirmed_ago,
            last_success_ago: ago(status.last_success_at),
            api_failure: status.api_failure,
            backoff: status
                .backoff_ends_at
                .map_or(Duration::ZERO, |at| at.saturating_duration_since(now)),
            last_error: status.last_error,
            counters: status.counters,
            units_per_day: status.units_per_day,
        }
    }
}
