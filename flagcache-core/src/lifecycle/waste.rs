//! [`Waste`]: detects a server that answers 200 with the definitions that are already held.

use std::mem;
use std::time::Duration;

use tokio::time::Instant;

use super::Machine;
use super::event::{Notice, Step};
use crate::FlagDefinitionCacheData;

/// The number of wasted answers in a row that counts as waste. A single one may come from a change of the server's format,
/// or of its cache.
const NOTICED_AFTER: u32 = 2;

/// The wasted answers since the last 304: 200s, each of which costs 10 units. A server that has lost its ETag, or sends
/// none, answers every request in this way.
#[derive(Debug, Default)]
pub(super) struct Waste {
    in_a_row: u32,
    /// Whether the waste was reported since the last 304.
    reported: bool,
    /// When the policy lets the leader send its next request.
    next_request_at: Option<Instant>,
}

impl Waste {
    /// An answer was wasted. With the policy, the next request waits for `stretched`. Returns whether to warn.
    pub(super) fn wasted(&mut self, now: Instant, stretched: Option<Duration>) -> bool {
        self.in_a_row = self.in_a_row.saturating_add(1);
        if self.in_a_row < NOTICED_AFTER {
            return false;
        }
        self.next_request_at = stretched.map(|interval| now + interval);
        !mem::replace(&mut self.reported, true)
    }

    /// A 200 was a change: the server may have an ETag again, so the next request is sent at the next tick. If that is
    /// wasted too, the server has not recovered.
    pub(super) fn changed(&mut self) {
        self.in_a_row = u32::from(self.reported);
        self.next_request_at = None;
    }

    /// A 304: the server knows its ETag.
    pub(super) fn recovered(&mut self) {
        *self = Self::default();
    }

    /// Until when a leader sends no request at its ticks.
    pub(super) fn next_request_at(&self, now: Instant) -> Option<Instant> {
        self.next_request_at.filter(|at| now < *at)
    }
}

impl Machine {
    /// Counts a 200 with the definitions that are already held.
    pub(super) fn note_waste(
        &mut self,
        now: Instant,
        data: &FlagDefinitionCacheData,
        steps: &mut Vec<Step>,
    ) {
        // An answer that confirms what is held back is needed.
        if self.hold.is_some() {
            return;
        }
        let held = self.freshness.snapshot();
        if !held.is_some_and(|held| held.same_content(data)) {
            return self.waste.changed();
        }
        self.load.wasted = true;
        let stretched = self.policy.stretched_interval();
        let warn = self.waste.wasted(now, stretched);
        steps.push(Step::Notice(Notice::Wasted { warn, stretched }));
    }
}
