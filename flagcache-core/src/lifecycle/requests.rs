//! [`Requests`]: when a leader carries out the refreshes that workers requested.

use std::mem;
use std::time::Duration;

use tokio::time::Instant;

use super::{LoadCause, Machine};

/// Minimum time between two requested GETs, however many refreshes are requested.
const GAP: Duration = Duration::from_secs(1);

/// The times of the repeated GETs, from the first requested one, while the API returns nothing new: PostHog builds its own
/// cache of the definitions after a change, so an early answer may still be the old one.
const ASK_AGAIN: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];

/// The refreshes that workers requested, merged into a series of GETs: one, repeated while the API returns nothing new.
#[derive(Debug, Default)]
pub(super) struct Requests {
    /// When the next requested GET is due.
    due: Option<Instant>,
    /// When the first GET of the current series was sent, and how many followed it.
    series: Option<(Instant, usize)>,
    last_sent: Option<Instant>,
    /// A worker whose store carries no requests asks the API itself, whether it leads or not.
    direct: bool,
}

impl Requests {
    /// A refresh is requested: begins a new series, merged with requests that are still waiting.
    pub(super) fn request(&mut self, now: Instant, direct: bool) {
        self.due = Some(self.last_sent.map_or(now, |sent| now.max(sent + GAP)));
        self.series = None;
        self.direct = direct;
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    pub(super) fn is_direct(&self) -> bool {
        self.direct && self.due.is_some()
    }

    /// The next requested GET may be sent from now on.
    pub(super) fn may_send(&self, now: Instant) -> bool {
        self.last_sent.is_none_or(|sent| now >= sent + GAP)
    }

    /// A GET that answers the waiting requests is sent.
    pub(super) fn sent(&mut self, now: Instant) {
        self.due = None;
        self.last_sent = Some(now);
        self.series.get_or_insert((now, 0));
    }

    /// The worker acquired leadership and fetches. The previous leader may have sent a requested GET just now.
    pub(super) fn acquired(&mut self, now: Instant) {
        self.last_sent = Some(now);
    }

    /// The GET returned nothing new. Does nothing if another refresh was requested meanwhile.
    pub(super) fn unanswered(&mut self) {
        if let (None, Some((first, repeated))) = (self.due, &mut self.series) {
            self.due = ASK_AGAIN.get(*repeated).map(|after| *first + *after);
            *repeated += 1;
        }
    }

    /// The load sent no GET.
    pub(super) fn failed(&mut self, now: Instant) {
        if self.due.is_some_and(|due| due <= now) {
            self.sent(now);
            self.unanswered();
        }
    }

    /// The GET returned new definitions. Refreshes that were requested meanwhile stay.
    pub(super) fn answered(&mut self) {
        if self.due.is_none() {
            self.series = None;
        }
    }

    /// Another worker leads, and carries out the requests.
    pub(super) fn drop_waiting(&mut self) {
        self.due = None;
        self.series = None;
    }
}

impl Machine {
    /// The decision took a request from the store: carries it out in this load, or later if the last requested GET was
    /// sent just now. A tick fetches in any case.
    pub(super) fn take_request(&mut self, now: Instant, newly: bool) {
        if !mem::take(&mut self.fleet.refresh_requested) || self.policy.manual {
            return;
        }
        let may_send = newly || self.requests.may_send(now);
        self.requests.request(now, false);
        let prompted = self.load.cause == LoadCause::Notification;
        if prompted && may_send && self.backoff.blocked_by(now).is_none() {
            self.load.cause = LoadCause::Request;
        }
    }

    /// Another worker leads, and takes the requests from the store. This load then continues like one after a notification.
    pub(super) fn drop_requests(&mut self) {
        self.requests.drop_waiting();
        self.fleet.refresh_requested = false;
        if self.load.cause == LoadCause::Request {
            self.load.cause = LoadCause::Notification;
        }
    }

    /// The store failed to decide: the requests wait, as after an answer with nothing new.
    pub(super) fn defer_requests(&mut self, now: Instant) {
        if self.load.cause == LoadCause::Request {
            self.load.cause = LoadCause::Notification;
            self.requests.failed(now);
        }
    }
}
