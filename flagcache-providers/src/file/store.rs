//! The store that the workers of one machine share.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use flagcache_core::{FetchFailure, FlagDefinitionCacheData, FleetFailure, PollerLink, ProviderError, StoreReport};

use super::config::Files;
use super::failure;
use super::lock::{Heard, Note};
use super::seat::Seat;
use super::stored_copy::StoredCopy;
use super::{FileProvider, FileStoreBuilder, tending};
use crate::restore;

/// The clock cannot be asked for any later time; nobody waits for this one.
const LONGEST_ABSENCE: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// One copy of the flag definitions in a file, shared by the processes of one machine. Cheap to clone; see the
/// [module](crate::file) for what it guarantees and which files it writes.
#[derive(Clone, Debug)]
pub struct FileStore {
    shared: Arc<Shared>,
}

impl FileStore {
    /// A store in `folder` for the workers of `service`. Many services can share a folder.
    pub fn builder(folder: impl Into<PathBuf>, service: impl Into<String>) -> FileStoreBuilder {
        FileStoreBuilder::new(folder.into(), service.into())
    }

    pub(super) fn open(files: Files, watch: bool) -> Self {
        let files = Arc::new(files);
        let copy = StoredCopy::new(Arc::clone(&files));
        Self { shared: Arc::new(Shared { files, watch, copy, pollers: Mutex::default() }) }
    }

    /// A provider for one poller. Each call gives one with an identity of its own; of many in one process, too, only one
    /// leads.
    pub fn provider(&self) -> FileProvider {
        FileProvider::new(Arc::clone(&self.shared))
    }

    /// The file that holds the copy.
    pub fn path(&self) -> &Path {
        &self.shared.files.data
    }
}

/// What the providers of one store have in common. Its methods block: they run where a provider's calls run, on the store's
/// thread and on the watcher's.
#[derive(Debug)]
pub(super) struct Shared {
    files: Arc<Files>,
    watch: bool,
    copy: StoredCopy,
    pollers: Mutex<Pollers>,
}

/// The seats of the attached pollers. While there is one, the thread runs.
#[derive(Debug, Default)]
struct Pollers {
    seats: Vec<Arc<Seat>>,
    tended: bool,
}

impl Shared {
    pub(super) fn files(&self) -> &Arc<Files> {
        &self.files
    }

    pub(super) fn watches(&self) -> bool {
        self.watch
    }

    pub(super) fn attach(self: &Arc<Self>, seat: &Arc<Seat>, link: PollerLink) {
        seat.attach(link);
        let mut pollers = self.pollers();
        pollers.seats.push(Arc::clone(seat));
        if !pollers.tended {
            match tending::start(self) {
                Ok(()) => pollers.tended = true,
                Err(error) => tracing::warn!(%error, "cannot start a thread; changes are seen at the next tick only"),
            }
        }
    }

    /// Forgets the seat. Safe to call again.
    pub(super) fn leave(&self, seat: &Arc<Seat>) {
        self.pollers().seats.retain(|other| !Arc::ptr_eq(other, seat));
    }

    /// Whether the thread is still needed. After a `false` it must end: the next poller starts another.
    pub(super) fn has_pollers(&self) -> bool {
        let mut pollers = self.pollers();
        pollers.tended = !pollers.seats.is_empty();
        pollers.tended
    }

    /// Looks after every seat. Whether a changed file was seen.
    pub(super) fn tend(&self) -> bool {
        let seats = self.pollers().seats.clone();
        let (now, data) = (Instant::now(), self.copy.identity().ok());
        let mut saw_a_change = false;
        for seat in seats {
            let tended = seat.tend(now, data);
            saw_a_change |= tended.saw_a_change;
            if tended.got_the_lead {
                self.copy.sweep();
            }
        }
        saw_a_change
    }

    pub(super) fn decide(&self, seat: &Seat) -> Result<bool, ProviderError> {
        let decision = seat.decide(Instant::now());
        self.report(seat);
        decision
    }

    pub(super) fn read(&self, seat: &Seat) -> Result<Option<FlagDefinitionCacheData>, ProviderError> {
        // A poller that only reads is never asked for a decision.
        self.report(seat);
        let identity = self.copy.identity()?;
        seat.saw(identity);
        self.copy.read(identity)
    }

    pub(super) fn publish(&self, seat: &Seat, data: &FlagDefinitionCacheData) -> Result<(), ProviderError> {
        if !seat.leads_load() {
            return self.create(seat, data);
        }
        if !self.is_stored(data) {
            self.replace(seat, data)?;
        }
        self.confirm(seat, data)
    }

    pub(super) fn not_received(&self, seat: &Seat, outcome: &Unreceived) -> Result<(), ProviderError> {
        let put_back = outcome.data.as_ref().map_or(Ok(()), |data| self.restore(seat, data, outcome.failure));
        let noted = match (outcome.failure, &outcome.data) {
            (None, Some(data)) => self.confirm(seat, data),
            (Some(FetchFailure::QuotaLimited), _) => seat.note(Heard::QuotaLimited),
            _ => Ok(()),
        };
        let kept = match outcome.fleet_failure {
            Some(failure) if seat.leads_load() => failure::write(&self.files, failure),
            _ => Ok(()),
        };
        if let Some(duration) = outcome.give_up_lead_for {
            seat.stay_out(Instant::now() + duration.min(LONGEST_ABSENCE));
        }
        put_back.and(noted).and(kept)
    }

    fn restore(
        &self,
        seat: &Seat,
        data: &FlagDefinitionCacheData,
        failure: Option<FetchFailure>,
    ) -> Result<(), ProviderError> {
        if !seat.leads_load() {
            return self.create(seat, data);
        }
        let keep = self
            .stored()
            .is_ok_and(|stored| stored.is_some_and(|copy| !restore::must_replace(&copy, data, failure.is_none())));
        if keep { Ok(()) } else { self.replace(seat, data) }
    }

    /// Notes that the API confirmed `data`, if that is what the stored copy holds: followers take the confirmation as one of
    /// the copy. A leader that cannot write leaves them the last true one, which grows old.
    fn confirm(&self, seat: &Seat, data: &FlagDefinitionCacheData) -> Result<(), ProviderError> {
        let removed = if seat.leads_load() { failure::remove(&self.files) } else { Ok(()) };
        let noted = if self.is_stored(data) { seat.note(Heard::Confirmed) } else { Ok(()) };
        noted.and(removed)
    }

    fn is_stored(&self, data: &FlagDefinitionCacheData) -> bool {
        self.stored().is_ok_and(|stored| stored.is_some_and(|copy| restore::is_same_copy(&copy, data)))
    }

    /// The copy as the leader finds it, read only if another hand has changed it.
    fn stored(&self) -> Result<Option<FlagDefinitionCacheData>, ProviderError> {
        self.copy.read(self.copy.identity()?)
    }

    fn replace(&self, seat: &Seat, data: &FlagDefinitionCacheData) -> Result<(), ProviderError> {
        match self.copy.replace(data, || seat.leads_load())? {
            Some(identity) => seat.saw(Some(identity)),
            None => tracing::debug!("lost the lead while writing; what the new leader stores stays"),
        }
        Ok(())
    }

    fn create(&self, seat: &Seat, data: &FlagDefinitionCacheData) -> Result<(), ProviderError> {
        if self.copy.identity()?.is_none()
            && let Some(identity) = self.copy.create(data)?
        {
            seat.saw(Some(identity));
        }
        Ok(())
    }

    fn report(&self, seat: &Seat) {
        let Some(link) = seat.link() else { return };
        let note = Note::read(&self.files.lock);
        // A time ahead of the clock, after the clock was set back, is as good as now.
        let ago = note.confirmed_at.map(|at| SystemTime::now().duration_since(at).unwrap_or_default());
        let report = StoreReport::new()
            .confirmed_ago(ago)
            .quota_limited(note.quota_limited)
            .fleet_failure(failure::read(&self.files.failure));
        link.report(report);
    }

    fn pollers(&self) -> MutexGuard<'_, Pollers> {
        self.pollers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a leader's load brought instead of a new set, without the borrow.
#[derive(Debug)]
pub(super) struct Unreceived {
    pub(super) failure: Option<FetchFailure>,
    pub(super) data: Option<FlagDefinitionCacheData>,
    pub(super) give_up_lead_for: Option<Duration>,
    pub(super) fleet_failure: Option<FleetFailure>,
}
