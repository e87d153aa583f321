//! [`VersionedProvider`]: the provider of one poller.

use parking_lot::{Mutex, MutexGuard};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use flagcache_core::{
    Expected, FetchErrorKind, FetchOutcome, FlagDefinitionCacheData, FleetFailure, PollerContext,
    ProviderError, ProviderErrorKind, Version,
};
use flagcache_derive::flag_cache_provider;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::copies::Missing;
use super::head::{CopyRef, Failure, Head, Record, Slot};
use super::leadership::Leadership;
use super::shared::{Shared, millis};
use super::{lock, renewal};
use crate::restore;

/// How often a read or a write is attempted when the head changes concurrently.
const TRIES: u32 = 3;

/// A request for a refresh that the leader has not taken for this long is announced again.
const REQUEST_MISSED: Duration = Duration::from_secs(1);

/// The maximum age, relative to the worker's own definitions, of a copy that another worker has written to an empty
/// store and not yet made current. An older copy is left alone.
const SAME_MOMENT: Duration = Duration::from_secs(300);

/// The provider of one poller; returned by [`Versioned::provider`](super::Versioned::provider).
///
/// Dropped without [`shutdown`](flagcache_core::FlagDefinitionCacheProvider::shutdown), it stops renewing its lease,
/// and another worker takes over when the lease expires.
pub struct VersionedProvider {
    shared: Arc<Shared>,
    leadership: Arc<Leadership>,
    poller: OnceLock<PollerContext>,
    load: Mutex<Load>,
    /// The slot versions that this worker itself wrote or read. Versions read by other pollers of the process are not
    /// used, because they say nothing about the time during which this worker led.
    slots: Mutex<[Option<Version>; 2]>,
    /// Whether the outcome of a commit is unknown: it may still make the spare slot current.
    has_open_commit: AtomicBool,
    renewal: Mutex<Option<AbortHandle>>,
}

/// The state of the current load.
#[derive(Debug, Default)]
struct Load {
    /// The record that the decision read, until a read has used it or a write has outdated it.
    record: Option<Arc<Record>>,
    /// The term, if this worker leads in this load.
    term: Option<u64>,
}

/// The result of a leader's request, as written to the head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct FetchMark {
    /// The API answered that the definitions are current.
    confirmed: bool,
    /// The API answered 402.
    quota: bool,
    /// The failure, in the form that is stored for all workers.
    failure: Option<FleetFailure>,
}

impl FetchMark {
    const CONFIRMED: Self = Self {
        confirmed: true,
        quota: false,
        failure: None,
    };

    fn of(outcome: &FetchOutcome) -> Self {
        match outcome.failure() {
            None => Self::CONFIRMED,
            Some(kind) => Self {
                confirmed: false,
                quota: kind == FetchErrorKind::QuotaLimited,
                failure: outcome.fleet_failure(),
            },
        }
    }

    /// Whether there is nothing to write.
    fn is_empty(self) -> bool {
        self == Self::default()
    }

    fn put_on(self, head: Head) -> Head {
        if self.confirmed {
            return Head {
                confirmed_ms: Some(0),
                quota: false,
                failure: None,
                ..head
            };
        }
        Head {
            quota: self.quota || head.quota,
            failure: self.failure.map(Failure::new).or(head.failure),
            ..head
        }
    }
}

impl fmt::Debug for VersionedProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VersionedProvider")
            .field("service", &self.shared.keys.service)
            .field("worker", &self.leadership.worker())
            .finish_non_exhaustive()
    }
}

impl Drop for VersionedProvider {
    fn drop(&mut self) {
        self.stop();
    }
}

#[flag_cache_provider(crate = flagcache_core)]
impl VersionedProvider {
    async fn should_fetch_flag_definitions(&self) -> Result<bool, ProviderError> {
        *self.load() = Load::default();
        let may_lead = self.leadership.begin_load();
        let seen = self.shared.read_head().await?;
        let may_lead = may_lead && !self.is_barred(&seen);
        let sent = Instant::now();
        let takes_request = AtomicBool::new(false);
        let record = if may_lead {
            self.shared
                .update(Arc::clone(&seen), |record| {
                    let next = self.attempt(record);
                    let has_request = record.head().is_some_and(|head| head.refresh);
                    takes_request.store(next.is_some() && has_request, Ordering::Relaxed);
                    next
                })
                .await?
        } else {
            seen.clone()
        };
        let requested = takes_request.into_inner() && record.led_by(self.worker()).is_some();
        self.shared
            .report(&record, self.worker(), requested, self.poller.get());
        let term = match record.led_by(self.worker()) {
            Some(head) if may_lead => {
                let renewed = (record.version != seen.version).then_some(sent);
                self.leadership.hold(head.term, renewed);
                Some(head.term)
            }
            // The worker has stepped down or is barred, but its release has failed.
            Some(_) => {
                self.release().await?;
                None
            }
            None => {
                self.leadership.lose();
                None
            }
        };
        *self.load() = Load {
            record: Some(record),
            term,
        };
        Ok(term.is_some())
    }

    async fn get_flag_definitions(&self) -> Result<Option<FlagDefinitionCacheData>, ProviderError> {
        let known = self.load().record.take();
        let mut record = match known {
            Some(record) => record,
            // There was no decision in this load (the worker only reads), or this is the second read.
            None => {
                let record = self.shared.read_head().await?;
                self.report(&record);
                record
            }
        };
        for _ in 0..TRIES {
            let Some(head) = record.head() else {
                return self.without_head(&record);
            };
            let Some(copy) = &head.copy else {
                return Ok(None);
            };
            let missing = match self.shared.copy_in_place(copy).await? {
                Ok(data) => return Ok(Some(data)),
                Err(missing) => missing,
            };
            // Another program wrote to the slot; the leader's next load repairs it. Until then, use the copy in memory.
            if let (Missing::Other, Some(data)) = (&missing, self.shared.copies.find(copy)) {
                return Ok(Some(data));
            }
            // Either the copy was replaced between the two reads, or it is damaged.
            let newer = self.shared.read_head().await?;
            if newer.head().and_then(|head| head.copy.as_ref()) == Some(copy) {
                return match missing {
                    Missing::Gone => Ok(None),
                    Missing::Other => Err(self.shared.damaged_copy(copy)),
                };
            }
            record = newer;
        }
        let message =
            "the copy was replaced during each attempt to read it; the next tick tries again";
        Err(ProviderError::new(ProviderErrorKind::Unavailable, message))
    }

    async fn peek_flag_definitions(
        &self,
    ) -> Result<Option<FlagDefinitionCacheData>, ProviderError> {
        self.get_flag_definitions().await
    }

    async fn on_flag_definitions_received(
        &self,
        data: &FlagDefinitionCacheData,
    ) -> Result<(), ProviderError> {
        match self.term() {
            Some(term) => self.keep(term, FetchMark::CONFIRMED, data).await,
            None => self.create(data).await,
        }
    }

    async fn on_fetch_without_update(&self, outcome: FetchOutcome) -> Result<(), ProviderError> {
        // Only the leader confirms or restores the copy.
        let Some(term) = self.term() else {
            return Ok(());
        };
        let mark = FetchMark::of(&outcome);
        let kept = match outcome.data() {
            Some(data) => self.keep(term, mark, data).await,
            None => self.mark(term, mark).await,
        };
        let Some(duration) = outcome.step_down_for() else {
            return kept;
        };
        self.load().term = None;
        self.leadership.step_down_for(duration);
        kept.and(self.release().await)
    }

    async fn shutdown(&self) -> Result<(), ProviderError> {
        self.stop();
        self.load().term = None;
        self.release().await
    }

    async fn request_refresh(&self) -> Result<bool, ProviderError> {
        let seen = self.shared.read_head().await?;
        // Without a head there is no leader, and the next one fetches anyway.
        let record = self
            .shared
            .update(Arc::clone(&seen), |record| {
                self.shared.with_refresh_request(record)
            })
            .await?;
        // A request that waits already was announced; after a second, the leader may have missed that.
        let waits = record.version == seen.version;
        let is_missed = self.shared.seen_for(&record) >= REQUEST_MISSED
            && self.shared.may_announce_again(REQUEST_MISSED);
        if record.head().is_some_and(|head| head.refresh) && (!waits || is_missed) {
            let text = format!("{}:{:016x}", self.worker(), fastrand::u64(..));
            self.shared.announce_request(text).await;
        }
        Ok(true)
    }

    fn on_poller_attached(&self, context: PollerContext) {
        self.shared.attach(&self.leadership, context.clone());
        let renewal = renewal::renew(
            Arc::clone(&self.shared),
            Arc::clone(&self.leadership),
            context.clone(),
        );
        *lock(&self.renewal) = Some(tokio::spawn(renewal).abort_handle());
        // Set only once, because a provider has one poller.
        let _ = self.poller.set(context);
    }
}

impl VersionedProvider {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            leadership: Arc::new(Leadership::new()),
            poller: OnceLock::new(),
            load: Mutex::default(),
            slots: Mutex::default(),
            has_open_commit: AtomicBool::new(false),
            renewal: Mutex::default(),
        }
    }

    /// The head to write in order to acquire or renew leadership; `None` if nothing has to be written.
    fn attempt(&self, record: &Record) -> Option<Head> {
        let worker = self.worker();
        if let Some(head) = record.led_by(worker) {
            let is_due = self.leadership.since_renewal() >= self.shared.lease / 3;
            // Another term comes from a write whose answer was lost.
            let is_known = self.leadership.term() == Some(head.term);
            return (is_due || !is_known || head.refresh).then(|| Head {
                refresh: false,
                ..self.shared.renewed(record, head)
            });
        }
        let is_free = self
            .shared
            .lease_left(record)
            .is_none_or(|left| left.is_zero());
        (is_free && !self.is_barred(record)).then(|| {
            self.leadership.attempt();
            Head {
                refresh: false,
                ..self.shared.acquired(record, worker)
            }
        })
    }

    /// Whether the API has refused this worker's key, so that it must not lead.
    fn is_barred(&self, record: &Record) -> bool {
        let key = self
            .poller
            .get()
            .and_then(PollerContext::schedule)
            .and_then(|schedule| schedule.key);
        self.shared
            .failure(record)
            .is_some_and(|failure| failure.bars(key))
    }

    fn without_head(
        &self,
        record: &Record,
    ) -> Result<Option<FlagDefinitionCacheData>, ProviderError> {
        if record.version.is_none() {
            return Ok(None);
        }
        let message = format!(
            "`{}` is not a valid leader record; a worker replaces it within one lease TTL",
            self.shared.keys.head
        );
        Err(ProviderError::new(ProviderErrorKind::InvalidData, message))
    }

    /// Makes `data` the current copy unless it is already, and writes the mark in the same write, so that a
    /// confirmation is always about this copy.
    async fn keep(
        &self,
        term: u64,
        mark: FetchMark,
        data: &FlagDefinitionCacheData,
    ) -> Result<(), ProviderError> {
        let record = self.last_seen().await?;
        let head = self.own(&record, term).ok_or_else(|| self.lost(term))?;
        if let Some(copy) = &head.copy
            && let Some(stored) = self.intact(copy).await?
            && !self.must_replace(&stored, mark, data)
        {
            return self.mark_copy(record.clone(), term, mark, copy).await;
        }
        self.publish(record, term, mark, data).await
    }

    /// The head that this process last read or wrote, in this load's decision or in a later renewal. It may be
    /// outdated: a compare-and-swap then fails.
    async fn last_seen(&self) -> Result<Arc<Record>, ProviderError> {
        match self.shared.last_seen() {
            Some(record) => Ok(record),
            None => self.shared.read_head().await,
        }
    }

    /// The current copy, if its slot still holds it.
    async fn intact(
        &self,
        copy: &CopyRef,
    ) -> Result<Option<FlagDefinitionCacheData>, ProviderError> {
        match self.shared.copy_in_place(copy).await {
            Ok(stored) => Ok(stored.ok()),
            Err(error) if error.kind() == ProviderErrorKind::InvalidData => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn must_replace(
        &self,
        stored: &FlagDefinitionCacheData,
        mark: FetchMark,
        data: &FlagDefinitionCacheData,
    ) -> bool {
        restore::must_replace(stored, data, mark.confirmed)
    }

    /// Writes the mark to the head, for any current copy.
    async fn mark(&self, term: u64, mark: FetchMark) -> Result<(), ProviderError> {
        let record = self.last_seen().await?;
        self.change(record, term, |head| {
            (!mark.is_empty()).then(|| mark.put_on(head))
        })
        .await
        .map(drop)
    }

    /// Writes the mark to the head while `copy` is current.
    async fn mark_copy(
        &self,
        record: Arc<Record>,
        term: u64,
        mark: FetchMark,
        copy: &CopyRef,
    ) -> Result<(), ProviderError> {
        self.change(record, term, |head| {
            (!mark.is_empty() && head.copy.as_ref() == Some(copy)).then(|| mark.put_on(head))
        })
        .await
        .map(drop)
    }

    /// Writes `data` to the spare slot, and then makes that slot the current one.
    async fn publish(
        &self,
        mut record: Arc<Record>,
        term: u64,
        mark: FetchMark,
        data: &FlagDefinitionCacheData,
    ) -> Result<(), ProviderError> {
        if self.has_open_commit.load(Ordering::Relaxed) {
            // This write changes the version of the head, so the open commit can no longer succeed.
            record = self.change(record, term, Some).await?;
            self.has_open_commit.store(false, Ordering::Relaxed);
        }
        let value = data.to_json();
        for _ in 0..TRIES {
            let head = self.own(&record, term).ok_or_else(|| self.lost(term))?;
            let copy = CopyRef::of(head.spare_slot(), &value);
            let Some(version) = self.fill_spare(&copy, &value, term).await? else {
                record = self.shared.read_head().await?;
                continue;
            };
            self.has_open_commit.store(true, Ordering::Relaxed);
            let commit = |head| {
                Some(Head {
                    copy: Some(copy.clone()),
                    ..mark.put_on(head)
                })
            };
            self.change(record, term, commit).await?;
            self.has_open_commit.store(false, Ordering::Relaxed);
            self.shared.copies.hold(copy, version, data.clone());
            self.announce().await;
            return Ok(());
        }
        let message = "other workers changed the spare slot during each attempt to write it; the next load tries again";
        Err(ProviderError::new(ProviderErrorKind::Unavailable, message))
    }

    /// Writes the spare slot. Returns its version, or `None` if the head must be read again.
    ///
    /// The write expects a version that was read while this worker led and the slot was not current. A later leader
    /// that uses the slot changes its version, so a late write cannot overwrite the current copy.
    async fn fill_spare(
        &self,
        copy: &CopyRef,
        value: &Bytes,
        term: u64,
    ) -> Result<Option<Version>, ProviderError> {
        let slot = copy.slot;
        // Taken, because the version is unknown after an error or a cancelled call.
        let known = lock(&self.slots)[slot as usize].take();
        if let Some(known) = known {
            let expected = Expected::Version(known);
            let written = self
                .shared
                .write_slot(slot, value.clone(), expected)
                .await?;
            if let Some(version) = written {
                return Ok(Some(self.know(slot, version)));
            }
        }
        let found = self.shared.read_slot(slot).await?;
        if let Some((_, version)) = found.as_ref().filter(|(found, _)| copy.is_of(found)) {
            // An earlier write succeeded but its answer was lost, or the slot already held this copy.
            return Ok(Some(self.know(slot, version.clone())));
        }
        // Read the head after the slot, to be certain that the slot was spare when it had this version.
        let record = self.shared.read_head().await?;
        let head = self.own(&record, term).ok_or_else(|| self.lost(term))?;
        if head.spare_slot() != slot {
            return Ok(None);
        }
        let expected = Expected::from(found.map(|(_, version)| version));
        let written = self
            .shared
            .write_slot(slot, value.clone(), expected)
            .await?;
        Ok(written.map(|version| self.know(slot, version)))
    }

    fn know(&self, slot: Slot, version: Version) -> Version {
        lock(&self.slots)[slot as usize] = Some(version.clone());
        version
    }

    /// Fills an empty store as a worker that does not lead. The first copy is kept: it is written only to an empty slot
    /// A, which no leader uses before a copy is current, and a worker that finds it there makes it the current copy.
    async fn create(&self, data: &FlagDefinitionCacheData) -> Result<(), ProviderError> {
        // The write outdates the record that the decision read.
        self.load().record = None;
        let record = self.shared.read_head().await?;
        if record.head().is_some_and(|head| head.copy.is_some()) {
            return Ok(());
        }
        let value = data.to_json();
        let written = self
            .shared
            .write_slot(Slot::A, value.clone(), Expected::Absent)
            .await?;
        let (copy, version, data) = match written {
            Some(version) => (CopyRef::of(Slot::A, &value), version, data.clone()),
            None => match self.created_by_another(data).await? {
                Some(created) => created,
                None => return Ok(()),
            },
        };
        let lease_ms = millis(self.shared.lease);
        let record = self
            .shared
            .update(record, |record| {
                let head = match record.head() {
                    Some(Head { copy: Some(_), .. }) => return None,
                    Some(head) => self.shared.restated(record, head),
                    None if record.version.is_some() => return None,
                    None => Head::empty(lease_ms),
                };
                let copy = Some(copy.clone());
                Some(FetchMark::CONFIRMED.put_on(Head { copy, ..head }))
            })
            .await?;
        if record.head().and_then(|head| head.copy.as_ref()) == Some(&copy) {
            self.shared.copies.hold(copy, version, data);
            self.announce().await;
        }
        Ok(())
    }

    /// The copy that another worker is writing to the empty store, if it is recent and of the same project.
    async fn created_by_another(
        &self,
        data: &FlagDefinitionCacheData,
    ) -> Result<Option<(CopyRef, Version, FlagDefinitionCacheData)>, ProviderError> {
        let Some((bytes, version)) = self.shared.read_slot(Slot::A).await? else {
            return Ok(None);
        };
        let copy = CopyRef::of(Slot::A, &bytes);
        let Ok(found) = FlagDefinitionCacheData::decode(bytes).await else {
            return Ok(None);
        };
        let is_of_this_moment = match (found.fetched_at(), data.fetched_at()) {
            (Some(found), Some(ours)) => {
                ours.duration_since(found).unwrap_or_default() <= SAME_MOMENT
            }
            _ => found.same_content(data),
        };
        let is_ours = found.project() == data.project() && is_of_this_moment;
        Ok(is_ours.then_some((copy, version, found)))
    }

    /// Changes the head as the leader of this term. If `next` returns `None`, the head remains unchanged.
    async fn change(
        &self,
        record: Arc<Record>,
        term: u64,
        next: impl Fn(Head) -> Option<Head>,
    ) -> Result<Arc<Record>, ProviderError> {
        // The write outdates the record that the decision read.
        self.load().record = None;
        let sent = Instant::now();
        let before = record.version.clone();
        let record = self
            .shared
            .update(record, |record| {
                let head = self.own(record, term)?;
                next(self.shared.renewed(record, head))
            })
            .await?;
        if self.own(&record, term).is_none() {
            return Err(self.lost(term));
        }
        if record.version != before {
            self.leadership.renewed(term, sent);
        }
        Ok(record)
    }

    /// Releases leadership, if the head may name this worker.
    async fn release(&self) -> Result<(), ProviderError> {
        if !self.leadership.end() {
            return Ok(());
        }
        let record = self.shared.read_head().await?;
        let led = record.led_by(self.worker()).is_some();
        let record = self
            .shared
            .update(record, |record| {
                let head = record.led_by(self.worker())?;
                Some(Head {
                    leader: None,
                    ..self.shared.renewed(record, head)
                })
            })
            .await?;
        self.leadership.lose();
        if led && record.led_by(self.worker()).is_none() {
            self.announce().await;
        }
        Ok(())
    }

    /// Notifies the other workers of a change. The text only has to be different each time.
    async fn announce(&self) {
        let text = format!("{}:{:016x}", self.worker(), fastrand::u64(..));
        self.shared.announce(text).await;
    }

    /// The head, if this worker is its leader in this term.
    fn own<'a>(&self, record: &'a Record, term: u64) -> Option<&'a Head> {
        record
            .led_by(self.worker())
            .filter(|head| head.term == term)
    }

    fn lost(&self, term: u64) -> ProviderError {
        if self.leadership.term() == Some(term) {
            self.leadership.lose();
        }
        // The new leader's copy is probably newer than the one in memory.
        if let Some(poller) = self.poller.get() {
            poller.notify_changed();
        }
        let message = format!(
            "nothing was written for service `{}`: leadership was lost before the load ended; the leader in `{}` \
             publishes its own copy",
            self.shared.keys.service, self.shared.keys.head
        );
        ProviderError::new(ProviderErrorKind::Other, message)
    }

    fn report(&self, record: &Record) {
        self.shared
            .report(record, self.worker(), false, self.poller.get());
    }

    fn worker(&self) -> &str {
        self.leadership.worker()
    }

    fn term(&self) -> Option<u64> {
        self.load().term
    }

    fn load(&self) -> MutexGuard<'_, Load> {
        lock(&self.load)
    }

    fn stop(&self) {
        self.shared.detach(&self.leadership);
        if let Some(task) = lock(&self.renewal).take() {
            task.abort();
        }
    }
}
