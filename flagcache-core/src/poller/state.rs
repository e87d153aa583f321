//! What the driver writes and the handles read.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;

use super::sharded::Handles;
use crate::poller::status::PollerCounters;
use crate::{
    DefinitionsChange, DefinitionsChanges, DefinitionsOrigin, FetchErrorKind,
    FlagDefinitionCacheData, PollerState, PollerStatus, Role,
};

/// How the poller ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Clean,
    ProviderFailed(String),
}

#[derive(Clone, Debug, Default)]
pub(super) struct Readiness {
    pub(super) ready: bool,
    /// How often what is in memory was replaced or cleared, be it a change or not.
    pub(super) installs: u64,
    pub(super) ending: Option<Outcome>,
}

/// A status as the driver knows it: with moments, from which a reader makes ages.
#[derive(Clone, Debug)]
pub(super) struct Report {
    pub(super) role: Role,
    pub(super) source: Option<DefinitionsOrigin>,
    pub(super) version: u64,
    /// Whether the API refuses the keys or the project has used up its quota, as the machine sees it.
    pub(super) refusal: Option<FetchErrorKind>,
    pub(super) api_failure: Option<FetchErrorKind>,
    pub(super) unconfirmed: bool,
    pub(super) confirmed_at: Option<Instant>,
    pub(super) last_success_at: Option<Instant>,
    pub(super) backoff_ends_at: Option<Instant>,
    pub(super) last_error: Option<String>,
    pub(super) counters: PollerCounters,
}

#[derive(Debug)]
pub(super) struct Shared {
    current: ArcSwapOption<Handles>,
    /// Weak: the driver owns the channel, so that subscribers are told when it ends.
    changes: broadcast::WeakSender<DefinitionsChange>,
    readiness: watch::Sender<Readiness>,
    report: Mutex<Report>,
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
            report: Mutex::new(Report {
                role: Role::Undecided,
                source: None,
                version: 0,
                refusal: None,
                api_failure: None,
                unconfirmed: false,
                confirmed_at: None,
                last_success_at: None,
                backoff_ends_at: None,
                last_error: None,
                counters: PollerCounters::default(),
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

    /// One swap of the whole set: a reader sees the old one or the new one.
    pub(super) fn install(&self, data: Option<FlagDefinitionCacheData>) {
        self.current
            .store(data.map(|data| Arc::new(Handles::new(data))));
        self.readiness.send_modify(|now| now.installs += 1);
    }

    /// Wakes those who wait for definitions, if there are some now. Comes after the report, so that they see a status of
    /// what they waited for.
    pub(super) fn announce(&self) {
        let ready = self.current.load().is_some();
        self.readiness
            .send_if_modified(|now| std::mem::replace(&mut now.ready, ready) != ready);
    }

    pub(super) fn subscribe(&self) -> DefinitionsChanges {
        // First the receiver: a change in between is then seen twice rather than never.
        let receiver = match self.changes.upgrade() {
            Some(changes) => changes.subscribe(),
            // After the end: a channel that is closed already.
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

    /// The lock is held for a copy; a reader of definitions never takes it.
    pub(super) fn report(&self) -> MutexGuard<'_, Report> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn status(&self) -> PollerStatus {
        let report = self.report().clone();
        let flags = self
            .current
            .load()
            .as_deref()
            .map(|handles| handles.here().len());
        let now = Instant::now();
        let ago = |at: Option<Instant>| at.map(|at| now.saturating_duration_since(at));
        let confirmed_ago = ago(report.confirmed_at);
        let stale = report.unconfirmed || confirmed_ago.is_none_or(|ago| ago >= self.max_staleness);
        let state = if self.readiness.borrow().ending.is_some() {
            PollerState::Stopped
        } else if report.refusal == Some(FetchErrorKind::QuotaLimited) {
            PollerState::QuotaLimited
        } else if report.refusal == Some(FetchErrorKind::Unauthorized) {
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
            role: report.role,
            source: report.source,
            version: report.version,
            flags,
            confirmed_ago,
            last_success_ago: ago(report.last_success_at),
            api_failure: report.api_failure,
            backoff: report
                .backoff_ends_at
                .map_or(Duration::ZERO, |at| at.saturating_duration_since(now)),
            last_error: report.last_error,
            counters: report.counters,
        }
    }
}
