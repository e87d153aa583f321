//! [`Shared`]: the state that the providers of one store share.

use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use flagcache_core::{
    FetchErrorKind, FetchOutcome, FlagDefinitionCacheData, FleetStatus, PollerContext,
    ProviderError,
};

use super::builder::Files;
use super::candidate::Candidate;
use super::failure;
use super::leader_lock::{Confirmation, LockMetadata};
use super::refresh;
use super::stored_copy::StoredCopy;
use crate::restore;

/// Longer absences are clamped to this: a year.
const LONGEST_ABSENCE: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The state that the providers of one store share. Its methods block: they run on the threads of provider calls, the
/// store's thread and the watcher's.
#[derive(Debug)]
pub(super) struct Shared {
    files: Arc<Files>,
    watch: bool,
    copy: StoredCopy,
    pollers: Mutex<Pollers>,
}

/// The candidates of the attached pollers. While there are any, the thread runs.
#[derive(Debug, Default)]
struct Pollers {
    candidates: Vec<Arc<Candidate>>,
    maintained: bool,
}

impl Shared {
    pub(super) fn new(files: Files, watch: bool) -> Self {
        let files = Arc::new(files);
        Self {
            copy: StoredCopy::new(Arc::clone(&files)),
            files,
            watch,
            pollers: Mutex::default(),
        }
    }

    pub(super) fn files(&self) -> &Arc<Files> {
        &self.files
    }

    pub(super) fn watches(&self) -> bool {
        self.watch
    }

    /// Adds the candidate of an attached poller. Returns whether the caller must start the thread.
    #[must_use = "the thread looks after the candidates"]
    pub(super) fn attach(&self, candidate: &Arc<Candidate>, context: PollerContext) -> bool {
        candidate.attach(context);
        let mut pollers = self.pollers();
        pollers.candidates.push(Arc::clone(candidate));
        !std::mem::replace(&mut pollers.maintained, true)
    }

    /// Records that the thread could not be started, so that the next poller tries again.
    pub(super) fn thread_failed(&self) {
        self.pollers().maintained = false;
    }

    /// Removes the candidate. Idempotent.
    pub(super) fn leave(&self, candidate: &Arc<Candidate>) {
        self.pollers()
            .candidates
            .retain(|other| !Arc::ptr_eq(other, candidate));
    }

    /// Whether the thread is still needed. After `false` it must end: the next poller starts another.
    pub(super) fn has_pollers(&self) -> bool {
        let mut pollers = self.pollers();
        pollers.maintained = !pollers.candidates.is_empty();
        pollers.maintained
    }

    /// Maintains every candidate. Returns whether a changed file was seen.
    pub(super) fn maintain(&self) -> bool {
        let candidates = self.pollers().candidates.clone();
        let (now, data) = (Instant::now(), self.copy.identity().ok());
        let mut saw_a_change = false;
        for candidate in candidates {
            let maintained = candidate.maintain(now, data);
            saw_a_change |= maintained.saw_a_change;
            if maintained.got_the_lead {
                self.copy.remove_stale_temp_files();
            }
        }
        saw_a_change
    }

    pub(super) fn decide(&self, candidate: &Candidate) -> Result<bool, ProviderError> {
        let decision = candidate.decide(Instant::now());
        self.report(candidate);
        decision
    }

    pub(super) fn read(
        &self,
        candidate: &Candidate,
    ) -> Result<Option<FlagDefinitionCacheData>, ProviderError> {
        // Report here too: a poller that only reads never asks for a decision.
        self.report(candidate);
        let identity = self.copy.identity()?;
        candidate.mark_seen(identity);
        self.copy.read(identity)
    }

    pub(super) fn publish(
        &self,
        candidate: &Candidate,
        data: &FlagDefinitionCacheData,
    ) -> Result<(), ProviderError> {
        if !candidate.leads_load() {
            return self.create(candidate, data);
        }
        if !self.is_stored(data) {
            self.replace(candidate, data)?;
        }
        self.confirm(candidate, data)
    }

    pub(super) fn fetch_without_update(
        &self,
        candidate: &Candidate,
        outcome: &FetchOutcome,
    ) -> Result<(), ProviderError> {
        let put_back = outcome.data().map_or(Ok(()), |data| {
            self.restore(candidate, data, outcome.failure())
        });
        let noted = match (outcome.failure(), outcome.data()) {
            (None, Some(data)) => self.confirm(candidate, data),
            (Some(FetchErrorKind::QuotaLimited), _) => candidate.note(Confirmation::QuotaLimited),
            _ => Ok(()),
        };
        let kept = match outcome.fleet_failure() {
            Some(failure) if candidate.leads_load() => failure::write(&self.files, failure),
            _ => Ok(()),
        };
        if let Some(duration) = outcome.step_down_for() {
            candidate.step_down_until(Instant::now() + duration.min(LONGEST_ABSENCE));
        }
        put_back.and(noted).and(kept)
    }

    /// Writes the request beside the copy, and wakes a leader in this process at once.
    pub(super) fn request_refresh(&self) -> Result<(), ProviderError> {
        refresh::write(&self.files)?;
        self.maintain();
        Ok(())
    }

    fn restore(
        &self,
        candidate: &Candidate,
        data: &FlagDefinitionCacheData,
        failure: Option<FetchErrorKind>,
    ) -> Result<(), ProviderError> {
        if !candidate.leads_load() {
            return self.create(candidate, data);
        }
        let keep = self.stored().is_ok_and(|stored| {
            stored.is_some_and(|copy| !restore::must_replace(&copy, data, failure.is_none()))
        });
        if keep {
            Ok(())
        } else {
            self.replace(candidate, data)
        }
    }

    /// Records that the API confirmed `data`, if the stored copy holds it: followers take it as a confirmation of the
    /// copy. If a leader cannot write, the last confirmation stays and ages.
    fn confirm(
        &self,
        candidate: &Candidate,
        data: &FlagDefinitionCacheData,
    ) -> Result<(), ProviderError> {
        let removed = if candidate.leads_load() {
            failure::remove(&self.files)
        } else {
            Ok(())
        };
        let noted = if self.is_stored(data) {
            candidate.note(Confirmation::Confirmed)
        } else {
            Ok(())
        };
        noted.and(removed)
    }

    fn is_stored(&self, data: &FlagDefinitionCacheData) -> bool {
        self.stored()
            .is_ok_and(|stored| stored.is_some_and(|copy| restore::is_same_copy(&copy, data)))
    }

    /// The copy as the leader finds it, read only if another program has changed it.
    fn stored(&self) -> Result<Option<FlagDefinitionCacheData>, ProviderError> {
        self.copy.read(self.copy.identity()?)
    }

    fn replace(
        &self,
        candidate: &Candidate,
        data: &FlagDefinitionCacheData,
    ) -> Result<(), ProviderError> {
        match self.copy.replace(data, || candidate.leads_load())? {
            Some(identity) => candidate.mark_seen(Some(identity)),
            None => {
                tracing::debug!("lost leadership while writing; the new leader's copy stays")
            }
        }
        Ok(())
    }

    fn create(
        &self,
        candidate: &Candidate,
        data: &FlagDefinitionCacheData,
    ) -> Result<(), ProviderError> {
        if self.copy.identity()?.is_none()
            && let Some(identity) = self.copy.create(data)?
        {
            candidate.mark_seen(Some(identity));
        }
        Ok(())
    }

    fn report(&self, candidate: &Candidate) {
        let Some(context) = candidate.context() else {
            return;
        };
        let note = LockMetadata::read(&self.files.lock);
        // A time in the future, after the clock was set back, counts as now.
        let ago = note
            .confirmed_at
            .map(|at| SystemTime::now().duration_since(at).unwrap_or_default());
        let report = FleetStatus::new()
            .confirmed_ago(ago)
            .quota_limited(note.quota_limited)
            .fleet_failure(failure::read(&self.files.failure))
            .refresh_requested(candidate.take_refresh_request());
        context.report(report);
    }

    fn pollers(&self) -> MutexGuard<'_, Pollers> {
        self.pollers.lock()
    }
}
