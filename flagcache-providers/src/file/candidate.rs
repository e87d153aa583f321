//! [`Candidate`]: whether one provider leads, tries to acquire the lock, or only reads.

use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;
use std::time::{Duration, Instant};

use flagcache_core::{PollerContext, ProviderError};

use super::builder::Files;
use super::failure;
use super::identity::Identity;
use super::leader_lock::{Confirmation, Lock};
use super::refresh;

/// The state of one provider. Used by the provider's calls and by the store's thread.
#[derive(Debug)]
pub(super) struct Candidate {
    state: Mutex<CandidateState>,
}

#[derive(Debug)]
struct CandidateState {
    lock: Lock,
    context: Option<PollerContext>,
    asked_at: Option<Instant>,
    /// The last decision was `true` and the lock was never lost since. A lock that the store's thread acquired
    /// meanwhile does not count: what this load fetched without it must not overwrite anything.
    leads_load: bool,
    steps_down_until: Option<Instant>,
    /// The identity of the data file that the poller knows. `None` before its first load, which reads the current one.
    seen: Option<Option<Identity>>,
    /// The request for a refresh for which this leader's poller was woken, and the one that a decision took. One that
    /// cannot be removed counts once.
    woken_for: Option<Identity>,
    taken: Option<Identity>,
    /// The last decision took a request that was not reported yet.
    took_refresh: bool,
    closed: bool,
}

/// The result of one maintenance pass over a candidate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct MaintenancePass {
    pub(super) got_the_lead: bool,
    pub(super) lost_the_lead: bool,
    pub(super) saw_a_change: bool,
}

impl Candidate {
    pub(super) fn new(files: Arc<Files>) -> Self {
        let state = CandidateState {
            lock: Lock::new(files),
            context: None,
            asked_at: None,
            leads_load: false,
            steps_down_until: None,
            seen: None,
            woken_for: None,
            taken: None,
            took_refresh: false,
            closed: false,
        };
        Self {
            state: Mutex::new(state),
        }
    }

    pub(super) fn attach(&self, context: PollerContext) {
        self.state().context = Some(context);
    }

    pub(super) fn context(&self) -> Option<PollerContext> {
        self.state().context.clone()
    }

    /// The decision.
    pub(super) fn decide(&self, now: Instant) -> Result<bool, ProviderError> {
        let mut state = self.state();
        state.asked_at = Some(now);
        state.seen.get_or_insert(None);
        state.leads_load = false;
        // Checked again under the lock: the last leader may have recorded a refusal just before it released the lock.
        let leads = state.may_lead(now) && state.lock.acquire()? && !state.is_barred();
        if !leads && state.lock.is_held() {
            // The store's thread may have acquired the lock meanwhile. A worker with a refused key must not hold it.
            state.release();
        }
        state.leads_load = leads;
        state.took_refresh = leads && state.takes_refresh_request();
        Ok(leads)
    }

    /// Whether the last decision took a request for a refresh; once.
    pub(super) fn take_refresh_request(&self) -> bool {
        std::mem::take(&mut self.state().took_refresh)
    }

    /// Whether this load may write as the leader: the lock is held since the decision, on the file at the path.
    pub(super) fn leads_load(&self) -> bool {
        let mut state = self.state();
        state.leads_load = state.leads_load && state.lock.verify();
        state.leads_load
    }

    /// Records the API's answer, if this load may write as the leader.
    pub(super) fn note(&self, confirmation: Confirmation) -> Result<(), ProviderError> {
        let state = self.state();
        if state.leads_load {
            state.lock.note(confirmation)
        } else {
            Ok(())
        }
    }

    pub(super) fn mark_seen(&self, identity: Option<Identity>) {
        self.state().seen = Some(identity);
    }

    /// Releases the lock, and does not try to acquire it before `until`.
    pub(super) fn step_down_until(&self, until: Instant) {
        let mut state = self.state();
        state.steps_down_until = Some(until);
        state.release();
    }

    /// Releases the lock for good. A call that timed out and still runs can neither acquire nor use it any more.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.release();
    }

    /// [`close`](Self::close) for a thread that must not wait. A running call keeps the candidate alive; with the last
    /// one the lock file is closed, which releases the lock.
    pub(super) fn close_soon(&self) {
        if let Some(mut state) = self.state.try_lock() {
            state.closed = true;
            state.release();
        }
    }

    /// Maintenance by the store's thread: tries the lock for a waiting candidate, releases it for one whose poller has
    /// stopped asking, and notifies the poller of a changed file.
    pub(super) fn maintain(&self, now: Instant, data: Option<Option<Identity>>) -> MaintenancePass {
        let mut state = self.state();
        let mut maintained = MaintenancePass::default();
        let Some(context) = state.context.clone() else {
            return maintained;
        };
        if !state.is_asking(&context, now) {
            if state.lock.is_held() {
                tracing::warn!(
                    "the leading poller has not asked for a decision for too long; its lock is released"
                );
                state.release();
            }
        } else if state.lock.is_held() {
            maintained.lost_the_lead = !state.lock.verify();
            state.leads_load &= !maintained.lost_the_lead;
            if state.leads_load && state.wakes_for_refresh_request() {
                context.notify_refresh_requested();
            }
        } else if state.may_lead(now) && state.ticks() {
            // The next decision meets the same error, and reports it.
            maintained.got_the_lead = state.lock.acquire().unwrap_or(false);
        }
        // A leader reads nothing; at its next tick it restores a copy that another program changed.
        if let (false, Some(seen), Some(data)) = (state.lock.is_held(), state.seen, data)
            && seen != data
        {
            state.seen = Some(data);
            maintained.saw_a_change = true;
        }
        if maintained != MaintenancePass::default() {
            context.notify_changed();
        }
        maintained
    }

    /// Held only for a few system calls on the lock file, never for the data. No code panics while holding it.
    fn state(&self) -> MutexGuard<'_, CandidateState> {
        self.state.lock()
    }
}

impl CandidateState {
    fn may_lead(&self, now: Instant) -> bool {
        !self.closed && self.steps_down_until.is_none_or(|until| until <= now) && !self.is_barred()
    }

    /// Whether a request for a refresh waits of which this leader's poller does not know.
    fn wakes_for_refresh_request(&mut self) -> bool {
        let waiting = refresh::waiting(self.lock.files());
        let is_new = waiting.is_some() && waiting != self.taken && waiting != self.woken_for;
        self.woken_for = waiting;
        is_new
    }

    /// Removes the request for a refresh that waits. Returns whether there was one.
    fn takes_refresh_request(&mut self) -> bool {
        let waiting = refresh::waiting(self.lock.files());
        let is_new = waiting.is_some() && waiting != self.taken;
        if waiting.is_some() {
            refresh::remove(self.lock.files());
        }
        self.taken = waiting;
        is_new
    }

    /// Whether the API just refused this worker's key to another leader.
    fn is_barred(&self) -> bool {
        let Some(failure) = failure::read(&self.lock.files().failure) else {
            return false;
        };
        failure.bars(
            self.context
                .as_ref()
                .and_then(PollerContext::schedule)
                .and_then(|schedule| schedule.key),
        )
    }

    /// Whether the poller is alive and asks for decisions. One that never asks only reads; one that has stopped, while
    /// its process lives on, must not keep the lock.
    fn is_asking(&self, context: &PollerContext, now: Instant) -> bool {
        /// A load may wait for a request and for some calls of the store.
        const LONGEST_LOAD: Duration = Duration::from_secs(20);
        let Some(schedule) = context.schedule() else {
            return false;
        };
        let max_silence = schedule
            .poll_interval
            .saturating_mul(2)
            .saturating_add(schedule.fetch_backoff)
            .saturating_add(LONGEST_LOAD);
        self.asked_at
            .is_some_and(|asked_at| now.saturating_duration_since(asked_at) <= max_silence)
    }

    /// A manual poller acquires the lock only in a decision: between them its process may be suspended.
    fn ticks(&self) -> bool {
        self.context
            .as_ref()
            .and_then(PollerContext::schedule)
            .is_some_and(|schedule| !schedule.manual)
    }

    fn release(&mut self) {
        self.leads_load = false;
        self.lock.release();
    }
}

#[cfg(test)]
mod tests {
    use flagcache_core::{PollerContextOwner, PollerSchedule};
    use tempfile::TempDir;

    use super::*;

    const INTERVAL: Duration = Duration::from_secs(30);

    fn candidate(folder: &TempDir) -> Arc<Candidate> {
        Arc::new(Candidate::new(Arc::new(Files::new(
            folder.path().to_owned(),
            "shop",
        ))))
    }

    fn attached(folder: &TempDir) -> (Arc<Candidate>, PollerContextOwner) {
        let (candidate, poller) = (
            candidate(folder),
            PollerContextOwner::new(PollerSchedule::new(INTERVAL)),
        );
        candidate.attach(poller.context());
        (candidate, poller)
    }

    #[test]
    fn b8_61_a_leader_without_decisions_loses_leadership_without_waiting() {
        let folder = TempDir::new().unwrap();
        let (candidate, poller) = attached(&folder);
        let mut schedule = PollerSchedule::new(INTERVAL);
        schedule.fetch_backoff = Duration::from_secs(100);
        poller.set_schedule(schedule);
        let (asked_at, second) = (Instant::now(), Duration::from_secs(1));
        assert!(candidate.decide(asked_at).unwrap());

        let max_silence = INTERVAL * 2 + Duration::from_secs(120);
        candidate.maintain(asked_at + max_silence, None);
        assert!(candidate.leads_load());
        candidate.maintain(asked_at + max_silence + second, None);
        assert!(!candidate.leads_load());
        assert!(
            !candidate
                .maintain(asked_at + max_silence + second, None)
                .got_the_lead
        );

        let (next, _poller) = attached(&folder);
        assert!(next.decide(asked_at).unwrap());
        next.close();
        assert!(
            candidate.decide(asked_at + max_silence * 2).unwrap(),
            "it asks again"
        );
    }

    #[test]
    fn leadership_acquired_between_loads_does_not_count_for_the_running_load() {
        let folder = TempDir::new().unwrap();
        let (leader, (follower, _poller)) = (candidate(&folder), attached(&folder));
        let now = Instant::now();
        assert!(leader.decide(now).unwrap());
        assert!(!follower.decide(now).unwrap());
        leader.close();
        assert!(follower.maintain(now, None).got_the_lead);
        assert!(!follower.leads_load());
        assert!(follower.decide(now).unwrap() && follower.leads_load());
    }

    #[test]
    fn a_closed_candidate_never_leads() {
        let folder = TempDir::new().unwrap();
        let (candidate, _poller) = attached(&folder);
        candidate.close();
        assert!(!candidate.decide(Instant::now()).unwrap());
        assert!(!candidate.maintain(Instant::now(), None).got_the_lead);
    }
}
