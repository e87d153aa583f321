//! [`Observer`]: logs and counters of a poller. A warning is logged once per change of state, not once per tick. The
//! names of events and metrics are stable; they are listed in `docs/observability.md`.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::lifecycle::Notice;
use crate::poller::meter;
use crate::poller::status::PollerCounters;
use crate::text::chain;
use crate::{
    DefinitionsChange, DefinitionsOrigin, FetchError, FetchErrorKind, LoadError, PollerState,
    ProviderError, ProviderErrorKind, ProviderMethod, Role,
};

/// What PostHog bills for a 200.
const FULL_RESPONSE_UNITS: u64 = 10;
/// What PostHog bills for a 304.
const NOT_MODIFIED_UNITS: u64 = 1;

/// The number of requests that the forecast uses.
const RECENT_REQUESTS: usize = 64;

/// Minimum time before a forecast, which would otherwise depend on a few requests.
const SHORTEST_SPAN: Duration = Duration::from_secs(60);

/// What a day costs at `units` in each `time`.
fn per_day(units: u64, time: Duration) -> u64 {
    const DAY: u128 = Duration::from_secs(24 * 60 * 60).as_millis();
    let forecast = u128::from(units) * DAY / time.as_millis().max(1);
    u64::try_from(forecast).unwrap_or(u64::MAX)
}

/// What PostHog bills for a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Billed {
    Full,
    NotModified,
    Nothing,
}

/// The target of all events here, independent of the module path.
pub(crate) const TARGET: &str = "flagcache";

#[derive(Debug, Default)]
pub(crate) struct Observer {
    pub(crate) counters: PollerCounters,
    /// The first error of the current load.
    load_error: Option<LoadError>,
    /// The error of the last load; `None` if it had none.
    pub(crate) last_error: Option<LoadError>,
    /// When the last requests ended, the oldest first, and what they cost.
    recent: VecDeque<(Instant, u64)>,
    load_sent_request: bool,
    load_read_change: bool,
    /// The kinds of failure per method since it last succeeded. A store that is down may alternate between several
    /// kinds.
    provider_faults: HashSet<(ProviderMethod, ProviderErrorKind)>,
    /// The kinds of request failures since the last success.
    fetch_failures: HashSet<FetchErrorKind>,
    /// The error of the last request; `None` after a success.
    fetch_error: Option<Arc<FetchError>>,
    role: Option<Role>,
    state: Option<PollerState>,
    confirmed_at: Option<Instant>,
}

impl Observer {
    /// `on_poller_attached` belongs to no load, so its error fails none.
    pub(crate) fn attached(&mut self, answer: &Result<(), ProviderError>) {
        if let Err(error) = answer {
            self.provider_failed(ProviderMethod::Attached, error);
        }
    }

    pub(crate) fn provider_answered<T>(
        &mut self,
        method: ProviderMethod,
        answer: &Result<T, Arc<ProviderError>>,
    ) {
        self.provider_method_answered(method, answer);
        if let Err(error) = answer {
            self.load_error.get_or_insert_with(|| LoadError::Provider {
                method,
                error: Arc::clone(error),
            });
        }
    }

    /// Like [`provider_answered`](Self::provider_answered), for a call that belongs to no load.
    pub(crate) fn provider_method_answered<T>(
        &mut self,
        method: ProviderMethod,
        answer: &Result<T, Arc<ProviderError>>,
    ) {
        match answer {
            Ok(_) => {
                let before = self.provider_faults.len();
                self.provider_faults.retain(|(failed, _)| *failed != method);
                if self.provider_faults.len() < before {
                    tracing::info!(
                        name: "flagcache.provider_recovered",
                        target: TARGET,
                        method = method.as_str(),
                        "flag definition cache provider works again"
                    );
                }
            }
            Err(error) => self.provider_failed(method, error),
        }
    }

    /// A request for a refresh was passed to the leader, or to this worker itself.
    pub(crate) fn refresh_requested(&mut self) {
        self.counters.refresh_requests += 1;
        meter::refresh_request();
        tracing::debug!(name: "flagcache.refresh_requested", target: TARGET, "a refresh of the fleet was requested");
    }

    fn provider_failed(&mut self, method: ProviderMethod, error: &ProviderError) {
        self.counters.provider_faults += 1;
        meter::provider_fault(method.as_str(), error.kind());
        if self.provider_faults.insert((method, error.kind())) {
            tracing::warn!(
                name: "flagcache.provider_failed",
                target: TARGET,
                method = method.as_str(),
                kind = error.kind().as_str(),
                error = chain(error),
                "flag definition cache provider failed"
            );
        }
    }

    pub(crate) fn request_sent(&mut self) {
        self.counters.requests += 1;
        self.load_sent_request = true;
    }

    pub(crate) fn request_billed(&mut self, billed: Billed) {
        let units = match billed {
            Billed::Full => {
                self.counters.full_responses += 1;
                FULL_RESPONSE_UNITS
            }
            Billed::NotModified => {
                self.counters.not_modified_responses += 1;
                NOT_MODIFIED_UNITS
            }
            Billed::Nothing => 0,
        };
        self.counters.units_spent += units;
        meter::units_spent(units);
        if self.recent.len() == RECENT_REQUESTS {
            self.recent.pop_front();
        }
        self.recent.push_back((Instant::now(), units));
    }

    /// The units of a day at the rate of the last requests. The oldest one only marks the beginning: the first request
    /// of a worker always costs more.
    pub(crate) fn units_per_day(&self, now: Instant) -> Option<u64> {
        let (begun, _) = self.recent.front()?;
        let span = now.saturating_duration_since(*begun);
        if span < SHORTEST_SPAN {
            return None;
        }
        let units: u64 = self.recent.iter().skip(1).map(|(_, units)| units).sum();
        let forecast = per_day(units, span);
        meter::units_per_day(forecast);
        Some(forecast)
    }

    pub(crate) fn noticed(&mut self, notice: Notice, poll_interval: Duration) {
        match notice {
            Notice::Wasted { warn, stretched } => {
                let units = FULL_RESPONSE_UNITS - NOT_MODIFIED_UNITS;
                self.counters.units_wasted += units;
                meter::units_wasted(units);
                if warn {
                    tracing::warn!(
                        name: "flagcache.units_wasted",
                        target: TARGET,
                        units_per_day = per_day(FULL_RESPONSE_UNITS, poll_interval),
                        expected_units_per_day = per_day(NOT_MODIFIED_UNITS, poll_interval),
                        stretched_to = stretched.map(|interval| interval.as_secs()),
                        "the API answers 200 with the definitions that are already held, at ten times the cost of a 304: \
                         a proxy removes the ETag, or the server has lost it; `on_wasted_units` can stretch the interval"
                    );
                }
            }
            Notice::HeldBack(removal) => {
                self.counters.changes_held_back += 1;
                meter::change_held_back();
                tracing::error!(
                    name: "flagcache.change_held_back",
                    target: TARGET,
                    removed = removal.removed,
                    flags = removal.flags,
                    removes_all_group_types = removal.group_types,
                    removes_all_cohorts = removal.cohorts,
                    "a change that removes much is held back until the next tick; if the API still says so then, it is published"
                );
            }
        }
    }

    pub(crate) fn fetch_succeeded(&mut self, billed: Billed) {
        meter::request(if let Billed::NotModified = billed {
            "not_modified"
        } else {
            "ok"
        });
        self.fetch_failures.clear();
        if self.fetch_error.take().is_some() {
            tracing::info!(
                name: "flagcache.fetch_recovered",
                target: TARGET,
                "flag definitions can be fetched again"
            );
        }
    }

    pub(crate) fn fetch_failed(&mut self, error: FetchError) {
        self.counters.failed_requests += 1;
        meter::request(error.kind().as_str());
        if self.fetch_failures.insert(error.kind()) {
            tracing::warn!(
                name: "flagcache.fetch_failed",
                target: TARGET,
                kind = error.kind().as_str(),
                error = chain(&error),
                "flag definitions could not be fetched"
            );
        }
        let error = Arc::new(error);
        self.fetch_error = Some(Arc::clone(&error));
        self.load_error.get_or_insert(LoadError::Fetch(error));
    }

    pub(crate) fn role(&mut self, role: Role) {
        let old = self.role.replace(role).unwrap_or(Role::Undecided);
        if old != role {
            meter::role(old, role);
            tracing::info!(
                name: "flagcache.role_changed",
                target: TARGET,
                from = old.as_str(),
                to = role.as_str(),
                "this worker's role changed"
            );
        }
    }

    pub(crate) fn state(&mut self, state: PollerState) {
        if self.state != Some(state) {
            meter::state(self.state.replace(state), state);
        }
    }

    /// When the API last confirmed the definitions in memory.
    pub(crate) fn confirmed(&mut self, at: Option<Instant>) {
        if let Some(at) = at.filter(|at| self.confirmed_at != Some(*at)) {
            self.confirmed_at = Some(at);
            let now = SystemTime::now();
            meter::confirmed(now.checked_sub(at.elapsed()).unwrap_or(now));
        }
    }

    pub(crate) fn changed(&mut self, change: &DefinitionsChange) {
        self.load_read_change |= change.origin == Some(DefinitionsOrigin::Cache);
        let flags = change.new.as_ref().map(|snapshot| snapshot.len());
        meter::definitions(change.version, flags);
        tracing::info!(
            name: "flagcache.definitions_changed",
            target: TARGET,
            version = change.version,
            origin = change.origin.map_or("policy", |origin| origin.as_str()),
            flags = flags.unwrap_or(0),
            added = change.diff.added.len(),
            removed = change.diff.removed.len(),
            changed = change.diff.changed.len(),
            "flag definitions changed"
        );
    }

    /// Ends a load. Returns its error.
    pub(crate) fn load_ended(&mut self, ticked: bool, unserved: bool) -> Option<LoadError> {
        self.counters.loads += 1;
        meter::load();
        if let (None, true, Some(error)) = (&self.load_error, unserved, &self.fetch_error) {
            self.load_error = Some(LoadError::Backoff(Arc::clone(error)));
        }
        // A worker without a cache would have sent a request at each tick.
        let saved = match (
            self.load_sent_request || self.load_error.is_some(),
            self.load_read_change,
        ) {
            (true, _) => 0,
            (false, true) => FULL_RESPONSE_UNITS,
            (false, false) => u64::from(ticked) * NOT_MODIFIED_UNITS,
        };
        self.counters.units_saved += saved;
        meter::units_saved(saved);
        self.load_sent_request = false;
        self.load_read_change = false;
        self.last_error = self.load_error.take();
        self.last_error.clone()
    }

    pub(crate) fn stopped(&self) {
        tracing::info!(name: "flagcache.poller_stopped", target: TARGET, "flag definition poller stopped");
    }
}
