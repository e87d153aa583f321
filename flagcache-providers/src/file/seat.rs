//! One provider's standing: whether it leads, waits for the lead, or only reads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use flagcache_core::{PollerLink, ProviderError, ProviderErrorKind};

use super::config::Files;
use super::failure;
use super::identity::Identity;
use super::lock::{Heard, Lock};

/// What a store keeps of each of its providers. Used by the provider's calls and by the store's thread.
#[derive(Debug)]
pub(super) struct Seat {
    standing: Mutex<Standing>,
    calls: AtomicUsize,
}

#[derive(Debug)]
struct Standing {
    lock: Lock,
    link: Option<PollerLink>,
    asked_at: Option<Instant>,
    /// The last decision was `true` and the lock was never lost since. A lock that the store's thread got meanwhile does
    /// not count: what this load fetched without it must not overwrite anything.
    leads_load: bool,
    stays_out_until: Option<Instant>,
    /// The state of the data file that the poller knows of. `None` before its first load, which meets what there is.
    seen: Option<Option<Identity>>,
    closed: bool,
}

/// What came of a look after a seat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tended {
    pub(super) got_the_lead: bool,
    pub(super) lost_the_lead: bool,
    pub(super) saw_a_change: bool,
}

impl Seat {
    /// How many calls of one provider may be stuck in a file system that does not answer.
    const MOST_CALLS: usize = 4;

    pub(super) fn new(files: Arc<Files>) -> Self {
        let standing = Standing {
            lock: Lock::new(files),
            link: None,
            asked_at: None,
            leads_load: false,
            stays_out_until: None,
            seen: None,
            closed: false,
        };
        Self { standing: Mutex::new(standing), calls: AtomicUsize::new(0) }
    }

    pub(super) fn attach(&self, link: PollerLink) {
        self.standing().link = Some(link);
    }

    pub(super) fn link(&self) -> Option<PollerLink> {
        self.standing().link.clone()
    }

    /// The decision.
    pub(super) fn decide(&self, now: Instant) -> Result<bool, ProviderError> {
        let mut standing = self.standing();
        standing.asked_at = Some(now);
        standing.seen.get_or_insert(None);
        standing.leads_load = false;
        standing.leads_load = standing.may_lead(now) && standing.lock.acquire()?;
        Ok(standing.leads_load)
    }

    /// Whether this load is the leader's, proved anew: the lock is held since the decision, on the file at the path.
    pub(super) fn leads_load(&self) -> bool {
        let mut standing = self.standing();
        standing.leads_load = standing.leads_load && standing.lock.verify();
        standing.leads_load
    }

    /// Notes what the API said, if this load is the leader's.
    pub(super) fn note(&self, heard: Heard) -> Result<(), ProviderError> {
        let standing = self.standing();
        if standing.leads_load { standing.lock.note(heard) } else { Ok(()) }
    }

    pub(super) fn saw(&self, identity: Option<Identity>) {
        self.standing().seen = Some(identity);
    }

    /// Frees the lead and asks for none before `until`.
    pub(super) fn stay_out(&self, until: Instant) {
        let mut standing = self.standing();
        standing.stays_out_until = Some(until);
        standing.release();
    }

    /// Frees the lead for good. A call that was cut and still runs can no longer take or use it.
    pub(super) fn close(&self) {
        let mut standing = self.standing();
        standing.closed = true;
        standing.release();
    }

    /// [`close`](Self::close) for a thread that must not wait. Whoever has the seat in use now keeps it alive; with the last
    /// of them the lock file is closed and the lead freed.
    pub(super) fn close_soon(&self) {
        if let Ok(mut standing) = self.standing.try_lock() {
            standing.closed = true;
            standing.release();
        }
    }

    /// What the store's thread does for a seat: tries the lock for one that waits for it, frees it of one whose poller has
    /// stopped asking, and tells the poller of a changed file.
    pub(super) fn tend(&self, now: Instant, data: Option<Option<Identity>>) -> Tended {
        let mut standing = self.standing();
        let mut tended = Tended::default();
        let Some(link) = standing.link.clone() else { return tended };
        if !standing.is_asking(&link, now) {
            if standing.lock.is_held() {
                tracing::warn!("the poller that leads has not asked for a decision for long; another may lead now");
                standing.release();
            }
        } else if standing.lock.is_held() {
            tended.lost_the_lead = !standing.lock.verify();
            standing.leads_load &= !tended.lost_the_lead;
        } else if standing.may_lead(now) && standing.ticks() {
            // A failure is told by the next decision, which meets it too.
            tended.got_the_lead = standing.lock.acquire().unwrap_or(false);
        }
        // A leader reads nothing; at its next tick it puts right what another hand wrote.
        if let (false, Some(seen), Some(data)) = (standing.lock.is_held(), standing.seen, data)
            && seen != data
        {
            standing.seen = Some(data);
            tended.saw_a_change = true;
        }
        if tended != Tended::default() {
            link.notify_changed();
        }
        tended
    }

    /// Counts a call in, until the guard is dropped.
    pub(super) fn begin_call(self: &Arc<Self>) -> Result<RunningCall, ProviderError> {
        let call = RunningCall { seat: Arc::clone(self) };
        if self.calls.fetch_add(1, Ordering::AcqRel) < Self::MOST_CALLS {
            return Ok(call);
        }
        let message = "earlier calls are still waiting for the file system; check the disk of the cache folder";
        Err(ProviderError::new(ProviderErrorKind::Busy, message))
    }

    /// Held over a few system calls on the lock file, never over the data. Nothing can panic under it.
    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Standing {
    fn may_lead(&self, now: Instant) -> bool {
        !self.closed && self.stays_out_until.is_none_or(|until| until <= now) && !self.is_barred()
    }

    /// Whether the API refused this worker's key to another leader just now.
    fn is_barred(&self) -> bool {
        let Some(failure) = failure::read(&self.lock.files().failure) else { return false };
        failure.bars(self.link.as_ref().and_then(PollerLink::schedule).and_then(|schedule| schedule.key))
    }

    /// Whether the poller is there and asks for decisions. One that never does only reads; one that has stopped, while its
    /// process lives on, must not keep the lead.
    fn is_asking(&self, link: &PollerLink, now: Instant) -> bool {
        /// A load may wait for a request and for some calls of the store.
        const LONGEST_LOAD: Duration = Duration::from_secs(20);
        let Some(schedule) = link.schedule() else { return false };
        let patience = schedule
            .poll_interval
            .saturating_mul(2)
            .saturating_add(schedule.fetch_backoff)
            .saturating_add(LONGEST_LOAD);
        self.asked_at.is_some_and(|asked_at| now.saturating_duration_since(asked_at) <= patience)
    }

    /// A manual poller gets the lead only in a decision: between them its process may be frozen.
    fn ticks(&self) -> bool {
        self.link.as_ref().and_then(PollerLink::schedule).is_some_and(|schedule| !schedule.manual)
    }

    fn release(&mut self) {
        self.leads_load = false;
        self.lock.release();
    }
}

/// A call that runs. It may outlive the future that waited for it.
#[derive(Debug)]
pub(super) struct RunningCall {
    seat: Arc<Seat>,
}

impl Drop for RunningCall {
    fn drop(&mut self) {
        self.seat.calls.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use flagcache_core::{LinkOwner, PollerSchedule};
    use tempfile::TempDir;

    use super::*;

    const INTERVAL: Duration = Duration::from_secs(30);

    fn seat(folder: &TempDir) -> Arc<Seat> {
        Arc::new(Seat::new(Arc::new(Files::new(folder.path().to_owned(), "shop"))))
    }

    fn attached(folder: &TempDir) -> (Arc<Seat>, LinkOwner) {
        let (seat, poller) = (seat(folder), LinkOwner::new(PollerSchedule::new(INTERVAL)));
        seat.attach(poller.link());
        (seat, poller)
    }

    #[test]
    fn b8_61_a_leader_that_stopped_asking_loses_the_lead_and_waits_for_none() {
        let folder = TempDir::new().unwrap();
        let (seat, poller) = attached(&folder);
        let mut schedule = PollerSchedule::new(INTERVAL);
        schedule.fetch_backoff = Duration::from_secs(100);
        poller.set_schedule(schedule);
        let (asked_at, second) = (Instant::now(), Duration::from_secs(1));
        assert!(seat.decide(asked_at).unwrap());

        let patience = INTERVAL * 2 + Duration::from_secs(120);
        seat.tend(asked_at + patience, None);
        assert!(seat.leads_load());
        seat.tend(asked_at + patience + second, None);
        assert!(!seat.leads_load());
        assert!(!seat.tend(asked_at + patience + second, None).got_the_lead);

        let (next, _poller) = attached(&folder);
        assert!(next.decide(asked_at).unwrap());
        next.close();
        assert!(seat.decide(asked_at + patience * 2).unwrap(), "it asks again");
    }

    #[test]
    fn a_lead_that_came_between_loads_is_not_the_leads_of_the_running_one() {
        let folder = TempDir::new().unwrap();
        let (leader, (follower, _poller)) = (seat(&folder), attached(&folder));
        let now = Instant::now();
        assert!(leader.decide(now).unwrap());
        assert!(!follower.decide(now).unwrap());
        leader.close();
        assert!(follower.tend(now, None).got_the_lead);
        assert!(!follower.leads_load());
        assert!(follower.decide(now).unwrap() && follower.leads_load());
    }

    #[test]
    fn a_closed_seat_takes_no_lead() {
        let folder = TempDir::new().unwrap();
        let (seat, _poller) = attached(&folder);
        seat.close();
        assert!(!seat.decide(Instant::now()).unwrap());
        assert!(!seat.tend(Instant::now(), None).got_the_lead);
    }

    #[test]
    fn a_call_beyond_those_that_hang_fails_at_once() {
        let seat = seat(&TempDir::new().unwrap());
        let mut hanging: Vec<RunningCall> = (0..Seat::MOST_CALLS).map(|_| seat.begin_call().unwrap()).collect();
        for _ in 0..3 {
            assert_eq!(seat.begin_call().unwrap_err().kind(), ProviderErrorKind::Busy);
        }
        hanging.pop();
        assert!(seat.begin_call().is_ok());
    }
}
