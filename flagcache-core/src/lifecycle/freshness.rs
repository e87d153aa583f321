//! What a worker knows from one load to the next: its set, how far it can be trusted, and which copies not to take.

use std::time::Duration;

use tokio::time::Instant;

use super::{DefinitionsOrigin, Policy};
use crate::{CopyId, FlagDefinitionCacheData};

/// How long a foreign empty set must stand at the least before it is believed: the leader may be held up by a slow disk
/// or a slow server when it puts its copy back.
const LEAST_PATIENCE: Duration = Duration::from_secs(10);

/// A copy in the store that this worker knows to be older than what it fetched itself.
#[derive(Debug)]
struct Superseded {
    copy: CopyId,
    since: Instant,
}

/// An empty copy of unknown origin, and since when the store has shown it.
#[derive(Debug)]
struct Suspect {
    copy: CopyId,
    since: Instant,
}

#[derive(Debug, Default)]
pub(super) struct Freshness {
    set: Option<FlagDefinitionCacheData>,
    source: Option<DefinitionsOrigin>,
    /// Used because nothing better was to be had; nobody has confirmed it since.
    unconfirmed: bool,
    confirmed_at: Option<Instant>,
    /// A policy cleared memory then. The store still holds what was cleared: only what the API confirmed since may come
    /// back.
    cleared_at: Option<Instant>,
    superseded: Option<Superseded>,
    suspect: Option<Suspect>,
}

impl Freshness {
    pub(super) fn set(&self) -> Option<&FlagDefinitionCacheData> {
        self.set.as_ref()
    }

    pub(super) fn is_cold(&self) -> bool {
        self.set.is_none()
    }

    pub(super) fn source(&self) -> Option<DefinitionsOrigin> {
        self.source
    }

    /// The ETag of the set in memory. It is part of the set, so it can never be that of another.
    pub(super) fn etag(&self) -> Option<&str> {
        self.set.as_ref().and_then(FlagDefinitionCacheData::etag)
    }

    pub(super) fn is_cleared(&self) -> bool {
        self.cleared_at.is_some()
    }

    pub(super) fn install(
        &mut self,
        data: FlagDefinitionCacheData,
        source: DefinitionsOrigin,
        unconfirmed: bool,
    ) {
        self.set = Some(data);
        self.source = Some(source);
        self.unconfirmed = unconfirmed;
        self.cleared_at = None;
        self.confirmed_at = None;
        self.suspect = None;
    }

    /// The same set under the ETag of a later answer.
    pub(super) fn replace_etag(&mut self, data: FlagDefinitionCacheData) {
        self.set = Some(data);
    }

    pub(super) fn clear(&mut self, now: Instant) {
        *self = Self {
            cleared_at: Some(now),
            ..Self::default()
        };
    }

    /// Somebody heard from the API then that the set is current.
    pub(super) fn confirm(&mut self, at: Instant) {
        self.confirmed_at = self.confirmed_at.max(Some(at));
        self.unconfirmed = false;
    }

    pub(super) fn confirmation(&self) -> (Option<Instant>, bool) {
        (self.confirmed_at, self.unconfirmed)
    }

    pub(super) fn is_stale(&self, now: Instant, max_staleness: Duration) -> bool {
        self.set.is_some()
            && (self.unconfirmed
                || self
                    .confirmed_at
                    .is_none_or(|at| now.saturating_duration_since(at) >= max_staleness))
    }

    /// A worker that is not the leader fetched a newer set than the copy it had: that copy is not to come back.
    pub(super) fn supersede(&mut self, now: Instant) {
        if let (Some(superseded), Some(DefinitionsOrigin::Api)) =
            (&mut self.superseded, self.source)
        {
            // What memory holds was never in the store: the store still shows the copy from before.
            superseded.since = now;
            return;
        }
        // Without metadata a copy's identity is its content alone, and a roll-back to it would look the same.
        self.superseded = self
            .set
            .as_ref()
            .filter(|set| set.fetched_at().is_some())
            .map(|set| Superseded {
                copy: set.copy_id(),
                since: now,
            });
    }

    /// Whether a copy from the store may replace the set in memory.
    ///
    /// `confirmed_at` is what the store says of the copy's last confirmation; `policy` bounds how long a copy is held off
    /// when the store does not say.
    pub(super) fn admits(
        &mut self,
        copy: &FlagDefinitionCacheData,
        now: Instant,
        confirmed_at: Option<Instant>,
        policy: &Policy,
    ) -> bool {
        if let Some(cleared_at) = self.cleared_at {
            return confirmed_at.is_some_and(|at| at > cleared_at);
        }
        let id = copy.copy_id();
        if let Some(superseded) = &self.superseded {
            let still_older = match confirmed_at {
                Some(at) => at <= superseded.since,
                None => now < superseded.since + policy.fail_open_interval,
            };
            if superseded.copy == id && still_older {
                return false;
            }
            self.superseded = None;
        }
        // Nobody deletes all flags of a project often, but a wrong hand in the store does: the leader has two ticks, and ten
        // seconds at the least, to put the copy back before a foreign empty set is believed.
        let doubtful = copy.is_empty()
            && copy.fetched_at().is_none()
            && self.set.as_ref().is_some_and(|s| !s.is_empty());
        if !doubtful {
            self.suspect = None;
            return true;
        }
        let patience = policy.poll_interval.saturating_mul(2).max(LEAST_PATIENCE);
        match &self.suspect {
            Some(suspect) if suspect.copy == id => {
                now.saturating_duration_since(suspect.since) >= patience
            }
            _ => {
                self.suspect = Some(Suspect {
                    copy: id,
                    since: now,
                });
                false
            }
        }
    }
}
