//! [`Freshness`]: the definitions in memory, how far they can be trusted, and which stored copies to reject.

use std::time::Duration;

use tokio::time::Instant;

use super::{DefinitionsOrigin, Policy};
use crate::{CopyId, FlagDefinitionCacheData};

/// The minimum time before empty definitions of unknown origin are accepted, so that a leader with a slow disk or store
/// can restore its copy.
const MIN_SUSPECT_AGE: Duration = Duration::from_secs(10);

/// When this worker last sent a request of its own, and what its answer replaced.
#[derive(Debug)]
struct Superseded {
    since: Instant,
    /// The copy that was in memory. `None` if there was none, or if it had no metadata: it would be identified by its content
    /// alone, and a genuine roll-back to it would be rejected.
    copy: Option<CopyId>,
}

/// An empty stored copy of unknown origin, and when it was first seen.
#[derive(Debug)]
struct Suspect {
    copy: CopyId,
    since: Instant,
}

#[derive(Debug, Default)]
pub(super) struct Freshness {
    snapshot: Option<FlagDefinitionCacheData>,
    origin: Option<DefinitionsOrigin>,
    /// Used as a last resort, and not confirmed by the API since.
    unconfirmed: bool,
    confirmed_at: Option<Instant>,
    /// When a policy cleared memory. The store still holds the cleared definitions, so a copy is accepted only if the
    /// API confirmed it later.
    cleared_at: Option<Instant>,
    superseded: Option<Superseded>,
    suspect: Option<Suspect>,
}

impl Freshness {
    pub(super) fn snapshot(&self) -> Option<&FlagDefinitionCacheData> {
        self.snapshot.as_ref()
    }

    pub(super) fn is_cold(&self) -> bool {
        self.snapshot.is_none()
    }

    pub(super) fn origin(&self) -> Option<DefinitionsOrigin> {
        self.origin
    }

    /// The ETag of the definitions in memory. Part of the snapshot, so the two cannot diverge.
    pub(super) fn etag(&self) -> Option<&str> {
        self.snapshot
            .as_ref()
            .and_then(FlagDefinitionCacheData::etag)
    }

    pub(super) fn is_cleared(&self) -> bool {
        self.cleared_at.is_some()
    }

    pub(super) fn install(
        &mut self,
        data: FlagDefinitionCacheData,
        origin: DefinitionsOrigin,
        unconfirmed: bool,
    ) {
        self.snapshot = Some(data);
        self.origin = Some(origin);
        self.unconfirmed = unconfirmed;
        self.cleared_at = None;
        self.confirmed_at = None;
        self.suspect = None;
    }

    /// Replaces the snapshot by one that differs only in its ETag.
    pub(super) fn replace_etag(&mut self, data: FlagDefinitionCacheData) {
        self.snapshot = Some(data);
    }

    pub(super) fn clear(&mut self, now: Instant) {
        *self = Self {
            cleared_at: Some(now),
            ..Self::default()
        };
    }

    /// The API confirmed the definitions at this time, to this or another worker.
    pub(super) fn confirm(&mut self, at: Instant) {
        self.confirmed_at = self.confirmed_at.max(Some(at));
        self.unconfirmed = false;
    }

    pub(super) fn confirmation(&self) -> (Option<Instant>, bool) {
        (self.confirmed_at, self.unconfirmed)
    }

    pub(super) fn is_stale(&self, now: Instant, max_staleness: Duration) -> bool {
        self.snapshot.is_some()
            && (self.unconfirmed
                || self
                    .confirmed_at
                    .is_none_or(|at| now.saturating_duration_since(at) >= max_staleness))
    }

    /// A worker that is not the leader fetched definitions newer than the stored copy, with a request that was sent at this
    /// time: remember to reject older copies.
    pub(super) fn supersede(&mut self, sent_at: Instant) {
        if let (Some(superseded), Some(DefinitionsOrigin::Api)) =
            (&mut self.superseded, self.origin)
        {
            // The definitions in memory were never stored: the store still holds the copy from before.
            superseded.since = sent_at;
            return;
        }
        let copy = self
            .snapshot
            .as_ref()
            .filter(|snapshot| snapshot.fetched_at().is_some())
            .map(FlagDefinitionCacheData::copy_id);
        self.superseded = Some(Superseded {
            since: sent_at,
            copy,
        });
    }

    /// Whether a stored copy may replace the definitions in memory.
    ///
    /// `confirmed_at` is when the copy was last confirmed, as the store reports it: a copy that was last confirmed before this
    /// worker's own request is older. If the store does not know, only the copy that was in memory is rejected, and
    /// `policy` limits for how long.
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
                None => {
                    superseded.copy == Some(id)
                        && now < superseded.since + policy.fail_open_interval
                }
            };
            if still_older {
                return false;
            }
            self.superseded = None;
        }
        // A project rarely loses all its flags, but somebody may clear the store. The leader gets two ticks, at least
        // ten seconds, to restore its copy before foreign empty definitions are accepted.
        let doubtful = copy.is_empty()
            && copy.fetched_at().is_none()
            && self
                .snapshot
                .as_ref()
                .is_some_and(|snapshot| !snapshot.is_empty());
        if !doubtful {
            self.suspect = None;
            return true;
        }
        let required_age = policy.poll_interval.saturating_mul(2).max(MIN_SUSPECT_AGE);
        match &self.suspect {
            Some(suspect) if suspect.copy == id => {
                now.saturating_duration_since(suspect.since) >= required_age
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
