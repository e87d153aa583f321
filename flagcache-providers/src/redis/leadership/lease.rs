//! [`Leadership`]: the client-side state of the Redis leader lock.

use parking_lot::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::NotificationListener;

use super::clock::{Clock, millis};

/// One worker's attempts to acquire leadership, and the lease that one acquired.
///
/// Every decision makes an attempt with a new number, and the lock then holds `flagcache:<worker>:<number>`. So each
/// load has its own token: a late write of an earlier load finds another token in the lock and changes nothing.
///
/// A lease is valid until the lock's TTL has passed on the local monotonic clock since *before* the call was sent that
/// acquired or renewed it, so never longer than the server keeps the lock.
///
/// An attempt expires when its worker stops waiting for the answer. Otherwise one that is delayed in a hanging server
/// could acquire the lock for a worker that has ended meanwhile, and the fleet would have no leader until the TTL.
#[derive(Debug)]
pub(in crate::redis) struct Leadership {
    worker: String,
    life: Duration,
    response_timeout: Duration,
    state: Mutex<State>,
    won: Notify,
}

#[derive(Debug)]
struct State {
    number: u64,
    lease: Option<Lease>,
    /// Whether the server may hold a lock of this worker: an attempt was sent, and no answer since rules it out.
    may_hold: bool,
    out_until: Option<Instant>,
    load_began: Instant,
    clock: Option<Clock>,
}

/// An attempt to acquire leadership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::redis) struct Attempt {
    pub(in crate::redis) number: u64,
    /// When it was sent, or earlier.
    sent: Instant,
    /// When it expires, in milliseconds of the server's clock, if that is known.
    pub(in crate::redis) until: Option<u64>,
}

impl Attempt {
    /// The same, without expiry.
    pub(in crate::redis) fn without_end(self) -> Self {
        Self {
            until: None,
            ..self
        }
    }
}

/// The lease of one number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::redis) struct Lease {
    number: u64,
    pub(in crate::redis) token: String,
    ends: Instant,
}

impl Leadership {
    /// `ttl` is that of the lock; the worker waits for an answer until `response_timeout`.
    pub(in crate::redis) fn new(life: Duration, response_timeout: Duration) -> Self {
        let load_began = Instant::now();
        let state = State {
            number: 0,
            lease: None,
            may_hold: false,
            out_until: None,
            load_began,
            clock: None,
        };
        let worker = NotificationListener::worker_name();
        Self {
            worker,
            life,
            response_timeout,
            state: Mutex::new(state),
            won: Notify::new(),
        }
    }

    /// The random, unique name of this worker.
    pub(in crate::redis) fn worker(&self) -> &str {
        &self.worker
    }

    pub(in crate::redis) fn life(&self) -> Duration {
        self.life
    }

    /// Begins a load: its attempt, `None` after a step-down.
    pub(in crate::redis) fn bid(&self, now: Instant) -> Option<Attempt> {
        let mut state = self.lock();
        state.load_began = now;
        if state.out_until.is_some_and(|until| now < until) {
            return None;
        }
        state.out_until = None;
        state.number += 1;
        state.may_hold = true;
        let until = state
            .clock
            .map(|clock| clock.at(now).saturating_add(millis(self.response_timeout)));
        Some(Attempt {
            number: state.number,
            sent: now,
            until,
        })
    }

    /// Updates the server's clock from a load's answer.
    pub(in crate::redis) fn see_clock(&self, clock: Clock) {
        self.lock().clock = Some(clock);
    }

    /// The attempt succeeded. Returns its token, unless the answer took longer than the lock's TTL.
    pub(in crate::redis) fn win(&self, bid: Attempt) -> Option<String> {
        let Attempt { number, sent, .. } = bid;
        let ends = sent + self.life;
        if Instant::now() >= ends {
            return None;
        }
        let token = format!("flagcache:{}:{number}", self.worker);
        self.lock().lease = Some(Lease {
            number,
            token: token.clone(),
            ends,
        });
        self.won.notify_one();
        Some(token)
    }

    /// A load's answer: this worker does not lead.
    pub(in crate::redis) fn lose(&self) {
        let mut state = self.lock();
        state.lease = None;
        state.may_hold = false;
    }

    /// The lock no longer holds `token`. Returns whether the lease of that token was lost by this.
    ///
    /// It was not if a later attempt is in progress: it may have replaced the token, and its reply decides.
    pub(in crate::redis) fn lose_token(&self, token: &str) -> bool {
        let mut state = self.lock();
        let latest = state.number;
        let current = state
            .lease
            .as_ref()
            .is_some_and(|lease| lease.token == token && lease.number == latest);
        if current {
            state.lease = None;
        }
        current
    }

    /// The renewal of `lease`, sent at `sent`, succeeded.
    pub(in crate::redis) fn renew(&self, lease: &Lease, sent: Instant) {
        if let Some(current) = self
            .lock()
            .lease
            .as_mut()
            .filter(|current| current.number == lease.number)
        {
            current.ends = current.ends.max(sent + self.life);
        }
    }

    /// The lease, if still valid.
    pub(in crate::redis) fn current(&self) -> Option<Lease> {
        self.lock()
            .lease
            .clone()
            .filter(|lease| Instant::now() < lease.ends)
    }

    /// Whether `token` is that of a valid lease.
    pub(in crate::redis) fn believes(&self, token: &str) -> bool {
        self.current().is_some_and(|lease| lease.token == token)
    }

    /// Steps down: no attempt for this long.
    pub(in crate::redis) fn step_down_until(&self, duration: Duration) {
        let mut state = self.lock();
        state.lease = None;
        state.out_until = Some(Instant::now() + duration);
    }

    /// Takes the flag that the server may hold a lock of this worker, which must be released.
    pub(in crate::redis) fn take_release_needed(&self) -> bool {
        let mut state = self.lock();
        state.lease = None;
        std::mem::take(&mut state.may_hold)
    }

    /// The time since the last load began.
    pub(in crate::redis) fn idle(&self) -> Duration {
        self.lock().load_began.elapsed()
    }

    /// Waits for the next successful attempt.
    pub(in crate::redis) async fn won(&self) {
        self.won.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: Duration = Duration::from_secs(10);
    const LIMIT: Duration = Duration::from_secs(1);

    fn won(lead: &Leadership, sent: Instant) -> Lease {
        let bid = lead.bid(sent).expect("a bid");
        lead.win(bid).expect("a lease");
        lead.current().expect("a lease")
    }

    #[test]
    fn a_lease_is_counted_from_before_its_call_was_sent() {
        let lead = Leadership::new(LIFE, LIMIT);
        let sent = Instant::now()
            .checked_sub(LIFE - Duration::from_millis(50))
            .unwrap();
        let lease = won(&lead, sent);
        assert_eq!(lease.ends, sent + LIFE);
        std::thread::sleep(Duration::from_millis(60));
        assert_eq!(lead.current(), None);
        assert!(!lead.believes(&lease.token));
    }

    #[test]
    fn an_answer_that_took_longer_than_the_lock_lives_is_not_believed() {
        let lead = Leadership::new(LIFE, LIMIT);
        let sent = Instant::now().checked_sub(LIFE).unwrap();
        let bid = lead.bid(sent).unwrap();
        assert_eq!(lead.win(bid), None);
        assert!(
            lead.take_release_needed(),
            "the server may hold the lock nevertheless"
        );
    }

    #[test]
    fn each_attempt_has_a_greater_number_and_another_token() {
        let lead = Leadership::new(LIFE, LIMIT);
        let (one, two) = (won(&lead, Instant::now()), won(&lead, Instant::now()));
        assert!(one.number < two.number);
        assert!(!lead.believes(&one.token) && lead.believes(&two.token));
    }

    #[test]
    fn an_attempt_is_valid_while_its_reply_is_awaited() {
        let lead = Leadership::new(LIFE, LIMIT);
        let now = Instant::now();
        assert_eq!(
            lead.bid(now).unwrap().until,
            None,
            "the server's clock was not seen yet"
        );
        lead.see_clock(Clock::shown(5_000, now));
        let bid = lead.bid(now + Duration::from_secs(30)).unwrap();
        assert_eq!(bid.until, Some(36_000));
        assert_eq!(bid.without_end(), Attempt { until: None, ..bid });
    }

    #[test]
    fn a_renewal_lengthens_only_the_lease_that_it_was_sent_for() {
        let lead = Leadership::new(LIFE, LIMIT);
        let long_ago = Instant::now().checked_sub(LIFE / 2).unwrap();
        let old = won(&lead, long_ago);
        let new = won(&lead, long_ago);
        lead.renew(&old, Instant::now());
        assert_eq!(lead.current().unwrap().ends, new.ends);
        lead.renew(&new, Instant::now());
        assert!(lead.current().unwrap().ends > new.ends);
        // Answers out of order do not shorten it.
        let longest = lead.current().unwrap().ends;
        lead.renew(&new, long_ago);
        assert_eq!(lead.current().unwrap().ends, longest);
    }

    #[test]
    fn the_loss_of_an_older_token_is_none() {
        let lead = Leadership::new(LIFE, LIMIT);
        let (old, new) = (won(&lead, Instant::now()), won(&lead, Instant::now()));
        assert!(!lead.lose_token(&old.token));
        assert!(lead.believes(&new.token));
        assert!(lead.lose_token(&new.token));
        assert_eq!(lead.current(), None);
    }

    #[test]
    fn a_refused_renewal_says_nothing_while_a_later_attempt_is_on_its_way() {
        let lead = Leadership::new(LIFE, LIMIT);
        let old = won(&lead, Instant::now());
        let bid = lead.bid(Instant::now()).unwrap();
        // The server has put the new token in the place of the old one; this worker has not read that answer yet.
        assert!(!lead.lose_token(&old.token));
        let token = lead.win(bid).unwrap();
        assert!(lead.believes(&token));
    }

    #[test]
    fn b8_61_a_worker_that_stepped_down_makes_no_attempt_until_the_time_is_over() {
        let lead = Leadership::new(LIFE, LIMIT);
        won(&lead, Instant::now());
        lead.step_down_until(Duration::from_secs(5));
        assert_eq!(lead.current(), None);
        let now = Instant::now();
        assert_eq!(lead.bid(now), None);
        assert!(lead.bid(now + Duration::from_secs(6)).is_some());
    }

    #[test]
    fn only_who_may_hold_the_lock_has_one_to_release() {
        let lead = Leadership::new(LIFE, LIMIT);
        assert!(!lead.take_release_needed());
        lead.bid(Instant::now());
        assert!(lead.take_release_needed(), "the attempt may have succeeded");
        lead.bid(Instant::now());
        lead.lose();
        assert!(!lead.take_release_needed());
    }
}
