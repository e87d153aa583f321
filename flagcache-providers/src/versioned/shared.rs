//! [`Shared`]: the state that the pollers of a process share: the store, the record last read, and the listeners.

use parking_lot::Mutex;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use flagcache_core::{
    ChangeNotifier, Expected, FlagDefinitionCacheData, FleetFailure, FleetStatus, PollerContext,
    ProviderError, ProviderErrorKind, ReadIfChanged, Version, VersionedStore,
};
use tokio::time::Instant;

use super::copies::{Copies, Missing};
use super::head::{Content, CopyRef, Failure, Head, Record, Slot};
use super::keys::Keys;
use super::leadership::Leadership;
use super::lock;

/// The maximum number of attempts to change the head. Another worker or a renewal can cause a conflict; repeated
/// conflicts mean that the store violates its contract.
const TRIES: u32 = 5;

type Listener = dyn Fn() + Send + Sync;

/// The pollers of this process, each with the leadership of its worker.
type Pollers = Vec<(Arc<Leadership>, PollerContext)>;

pub(super) struct Shared {
    pub(super) store: Arc<dyn VersionedStore>,
    pub(super) keys: Keys,
    pub(super) copies: Copies,
    /// How long a leader's record must be unchanged before another worker takes over.
    pub(super) lease: Duration,
    observed: Mutex<Option<Observed>>,
    highest_term: AtomicU64,
    pollers: Arc<Mutex<Pollers>>,
    listener: OnceLock<Watch>,
    bell: Mutex<Option<Version>>,
    /// When this process last announced a request for a refresh.
    request_announced: Mutex<Option<Instant>>,
    /// A leader of this process has just announced a change itself.
    announces: Arc<AtomicBool>,
}

/// The listener of the watched key.
struct Watch {
    is_watched: bool,
    /// Notifiers hold only a weak reference, so that the watch ends with the store.
    _listener: Arc<Listener>,
}

/// The record last read, with times of this process's monotonic clock.
#[derive(Clone)]
struct Observed {
    record: Arc<Record>,
    /// When the call that first read this version was sent. Ages are measured from this time.
    version_since: Instant,
    /// When the answer with the leader's last renewal first arrived. Leases are measured from this time.
    lease_since: Instant,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("service", &self.keys.service)
            .finish_non_exhaustive()
    }
}

impl Shared {
    pub(super) fn new(store: Arc<dyn VersionedStore>, keys: Keys, lease: Duration) -> Self {
        Self {
            store,
            keys,
            copies: Copies::default(),
            lease,
            observed: Mutex::default(),
            highest_term: AtomicU64::new(0),
            pollers: Arc::default(),
            listener: OnceLock::new(),
            bell: Mutex::default(),
            request_announced: Mutex::default(),
            announces: Arc::default(),
        }
    }

    /// Reads the head. Its value is transferred only if it has changed.
    pub(super) async fn read_head(&self) -> Result<Arc<Record>, ProviderError> {
        let known = lock(&self.observed)
            .as_ref()
            .map(|observed| Arc::clone(&observed.record));
        let key = &self.keys.head;
        let sent = Instant::now();
        let read = match known.as_deref() {
            Some(Record {
                version: Some(version),
                ..
            }) => self.store.read_if_changed(key, version).await,
            _ => self.store.read(key).await.map(ReadIfChanged::Changed),
        };
        match (
            read.map_err(|error| self.cannot("read the leader record", key, error))?,
            known,
        ) {
            (ReadIfChanged::Unchanged, Some(record)) => {
                self.observe(Arc::clone(&record), sent);
                Ok(record)
            }
            (ReadIfChanged::Changed(value), _) => {
                let record = Arc::new(Record::read(value, key)?);
                self.observe(Arc::clone(&record), sent);
                Ok(record)
            }
            // The store broke its contract: this was a plain read.
            (ReadIfChanged::Unchanged, None) => Err(ProviderError::new(
                ProviderErrorKind::InvalidData,
                format!(
                    "the store reports `{key}` as unchanged, but it was not read conditionally"
                ),
            )),
        }
    }

    /// Changes the head by compare-and-swap, until `change` returns `None` or the write succeeds. Returns the resulting
    /// head.
    ///
    /// After a lost answer, the head is read: each record is unique, so if it is stored, this write succeeded.
    pub(super) async fn update(
        &self,
        mut base: Arc<Record>,
        change: impl Fn(&Record) -> Option<Head>,
    ) -> Result<Arc<Record>, ProviderError> {
        let key = &self.keys.head;
        for _ in 0..TRIES {
            let Some(next) = change(&base) else {
                return Ok(base);
            };
            let sent = Instant::now();
            let expected = Expected::from(base.version.clone());
            let failed = match self.store.write(key, next.to_json(), expected).await {
                Ok(Some(version)) => {
                    let record = Arc::new(Record {
                        version: Some(version),
                        content: Content::Head(next),
                    });
                    self.observe(Arc::clone(&record), sent);
                    return Ok(record);
                }
                Ok(None) => None,
                Err(error) => Some(self.cannot("write the leader record", key, error)),
            };
            let found = self.read_head().await?;
            if found.head() == Some(&next) {
                return Ok(found);
            }
            if let Some(error) = failed.filter(|_| found.version == base.version) {
                return Err(error);
            }
            base = found;
        }
        Err(ProviderError::new(
            ProviderErrorKind::Unavailable,
            format!("other workers changed `{key}` during each of {TRIES} attempts to change it"),
        ))
    }

    pub(super) async fn read_slot(
        &self,
        slot: Slot,
    ) -> Result<Option<(Bytes, Version)>, ProviderError> {
        let key = self.keys.slot(slot);
        let read = self.store.read(key).await;
        read.map_err(|error| self.cannot("read the copy", key, error))
    }

    pub(super) async fn write_slot(
        &self,
        slot: Slot,
        value: Bytes,
        expected: Expected,
    ) -> Result<Option<Version>, ProviderError> {
        let key = self.keys.slot(slot);
        let written = self.store.write(key, value, expected).await;
        written.map_err(|error| self.cannot("write the copy", key, error))
    }

    /// The copy that the head names, from memory or else from its slot.
    pub(super) async fn copy(
        &self,
        copy: &CopyRef,
    ) -> Result<Result<FlagDefinitionCacheData, Missing>, ProviderError> {
        if let Some(data) = self.copies.find(copy) {
            return Ok(Ok(data));
        }
        let _reading = self.copies.reading.lock().await;
        if let Some(data) = self.copies.find(copy) {
            return Ok(Ok(data));
        }
        self.take_in(copy, self.read_slot(copy.slot).await?).await
    }

    /// Like [`copy`](Self::copy), but checks the slot, which another program may have changed.
    pub(super) async fn copy_in_place(
        &self,
        copy: &CopyRef,
    ) -> Result<Result<FlagDefinitionCacheData, Missing>, ProviderError> {
        let Some(held) = self.copies.held(copy) else {
            return self.copy(copy).await;
        };
        let key = self.keys.slot(copy.slot);
        let read = self.store.read_if_changed(key, &held.version).await;
        match read.map_err(|error| self.cannot("read the copy", key, error))? {
            ReadIfChanged::Unchanged => Ok(Ok(held.data.clone())),
            ReadIfChanged::Changed(value) => self.take_in(copy, value).await,
        }
    }

    async fn take_in(
        &self,
        copy: &CopyRef,
        value: Option<(Bytes, Version)>,
    ) -> Result<Result<FlagDefinitionCacheData, Missing>, ProviderError> {
        let Some((bytes, version)) = value else {
            return Ok(Err(Missing::Gone));
        };
        if !copy.is_of(&bytes) {
            return Ok(Err(Missing::Other));
        }
        let data = match self.copies.find(copy) {
            Some(data) => data,
            None => {
                let previous = self.copies.last();
                FlagDefinitionCacheData::decode_after(bytes, previous.as_ref()).await?
            }
        };
        self.copies.hold(copy.clone(), version, data.clone());
        Ok(Ok(data))
    }

    pub(super) fn damaged_copy(&self, copy: &CopyRef) -> ProviderError {
        ProviderError::new(
            ProviderErrorKind::InvalidData,
            format!(
                "`{}` does not hold the copy that `{}` names; the leader's next load repairs it",
                self.keys.slot(copy.slot),
                self.keys.head
            ),
        )
    }

    /// An error that names the operation and the key. The error of the store is its source.
    pub(super) fn cannot(&self, what: &str, key: &str, error: ProviderError) -> ProviderError {
        let kind = error.kind();
        ProviderError::new(kind, format!("cannot {what} `{key}`")).with_source(error)
    }

    fn observe(&self, record: Arc<Record>, sent: Instant) {
        if let Some(head) = record.head() {
            self.highest_term.fetch_max(head.term, Ordering::Relaxed);
        }
        let mut observed = lock(&self.observed);
        let previous = observed.as_ref();
        let same = previous.filter(|seen| seen.record.version == record.version);
        if same.is_some() && record.version.is_some() {
            return;
        }
        let lease_since = previous
            .filter(|seen| same_lease(&seen.record, &record))
            .map_or_else(Instant::now, |seen| seen.lease_since);
        *observed = Some(Observed {
            record,
            version_since: sent,
            lease_since,
        });
    }

    /// The time until the lease in `record` expires: zero if it has expired, and `None` if there is no leader.
    pub(super) fn lease_left(&self, record: &Record) -> Option<Duration> {
        let lease = match &record.content {
            Content::Absent => return None,
            Content::Damaged => self.lease,
            Content::Head(Head { leader: None, .. }) => return None,
            Content::Head(head) => Duration::from_millis(head.lease_ms),
        };
        let since = lock(&self.observed)
            .as_ref()
            .filter(|seen| same_lease(&seen.record, record))
            .map(|seen| seen.lease_since);
        Some(since.map_or(lease, |since| lease.saturating_sub(since.elapsed())))
    }

    /// The age of the last confirmation: the age in the record, plus the time since the record was first read.
    pub(super) fn confirmed_ago(&self, record: &Record) -> Option<Duration> {
        let stated = Duration::from_millis(record.head()?.confirmed_ms?);
        Some(stated.saturating_add(self.seen_for(record)))
    }

    /// The failure of the leader's last request, with its current age.
    pub(super) fn failure(&self, record: &Record) -> Option<FleetFailure> {
        let failure = record.head()?.failure.as_ref()?;
        // An invalid text is ignored.
        let parsed: FleetFailure = failure.text.parse().ok()?;
        Some(parsed.with_age(self.age(record, failure)))
    }

    fn age(&self, record: &Record, failure: &Failure) -> Duration {
        Duration::from_millis(failure.age_ms).saturating_add(self.seen_for(record))
    }

    /// The time since this process first read this version of the record.
    pub(super) fn seen_for(&self, record: &Record) -> Duration {
        lock(&self.observed)
            .as_ref()
            .filter(|seen| seen.record.version == record.version)
            .map_or(Duration::ZERO, |seen| seen.version_since.elapsed())
    }

    pub(super) fn last_seen(&self) -> Option<Arc<Record>> {
        let observed = lock(&self.observed);
        observed.as_ref().map(|seen| Arc::clone(&seen.record))
    }

    /// The head of `record`, renewed by its leader.
    pub(super) fn renewed(&self, record: &Record, head: &Head) -> Head {
        Head {
            renewal: head.renewal.saturating_add(1),
            ..self.restated(record, head)
        }
    }

    /// The head of `record` with current ages, as a worker that does not lead writes it.
    pub(super) fn restated(&self, record: &Record, head: &Head) -> Head {
        Head {
            confirmed_ms: self.confirmed_ago(record).map(millis),
            failure: head.failure.as_ref().map(|failure| Failure {
                text: failure.text.clone(),
                age_ms: millis(self.age(record, failure)),
            }),
            ..head.clone()
        }
    }

    /// The head of `record` with a request for a refresh, unless it has one.
    pub(super) fn with_refresh_request(&self, record: &Record) -> Option<Head> {
        let head = record.head().filter(|head| !head.refresh)?;
        let restated = self.restated(record, head);
        Some(Head {
            // This worker may see the record for the first time: the time since the leader wrote it, at most the time
            // between two renewals, must not be lost.
            confirmed_ms: restated
                .confirmed_ms
                .map(|age| age.saturating_add(millis(self.lease / 3))),
            refresh: true,
            ..restated
        })
    }

    /// The head with which `worker` acquires leadership.
    pub(super) fn acquired(&self, record: &Record, worker: &str) -> Head {
        let head = match record.head() {
            Some(head) => self.renewed(record, head),
            None => Head::empty(0),
        };
        Head {
            leader: Some(worker.to_owned()),
            term: self.next_term(),
            lease_ms: millis(self.lease),
            ..head
        }
    }

    /// A term that is higher than every term this process has read.
    pub(super) fn next_term(&self) -> u64 {
        self.highest_term.load(Ordering::Relaxed).saturating_add(1)
    }

    pub(super) fn report(
        &self,
        record: &Record,
        worker: &str,
        refresh_requested: bool,
        poller: Option<&PollerContext>,
    ) {
        let Some(poller) = poller else { return };
        let left = match record.led_by(worker) {
            Some(_) => None,
            None => self.lease_left(record),
        };
        poller.report(
            FleetStatus::new()
                .confirmed_ago(self.confirmed_ago(record))
                .lease_ends_in(left)
                .quota_limited(record.head().is_some_and(|head| head.quota))
                .refresh_requested(refresh_requested)
                .fleet_failure(self.failure(record)),
        );
    }

    /// Adds a poller. The first one starts the watch.
    pub(super) fn attach(&self, leadership: &Arc<Leadership>, poller: PollerContext) {
        {
            let mut pollers = lock(&self.pollers);
            pollers.retain(|(_, poller)| poller.is_connected());
            pollers.push((Arc::clone(leadership), poller));
        }
        self.listener.get_or_init(|| {
            let pollers = Arc::clone(&self.pollers);
            let own = Arc::clone(&self.announces);
            let listener: Arc<Listener> = Arc::new(move || {
                let pollers = lock(&pollers);
                notify(&pollers);
                // The leader's own announcements do not concern it; others may be requests for a refresh.
                if !own.swap(false, Ordering::Relaxed) {
                    notify_leaders(&pollers);
                }
            });
            let notifier = ChangeNotifier::new(Arc::downgrade(&listener));
            Watch {
                is_watched: self.store.watch(&self.keys.changes, notifier),
                _listener: listener,
            }
        });
    }

    pub(super) fn detach(&self, leadership: &Leadership) {
        lock(&self.pollers).retain(|(other, _)| other.worker() != leadership.worker());
    }

    /// Notifies the other workers of a new copy or leader by writing the watched key. If the store has no `watch`,
    /// notifies only the pollers of this process. After a failed notification the other workers see the change at their
    /// next tick.
    pub(super) async fn announce(&self, text: String) {
        if !self.listener.get().is_some_and(|watch| watch.is_watched) {
            return notify(&lock(&self.pollers));
        }
        let leads = lock(&self.pollers)
            .iter()
            .any(|(leadership, _)| leadership.term().is_some());
        self.announces.store(leads, Ordering::Relaxed);
        self.write_watched(text).await;
    }

    /// Wakes the leader because of a request for a refresh. If the store has no `watch`, a leader in another process sees
    /// the request when it next renews its lease.
    pub(super) async fn announce_request(&self, text: String) {
        *lock(&self.request_announced) = Some(Instant::now());
        if self.listener.get().is_some_and(|watch| watch.is_watched) {
            self.write_watched(text).await;
        }
        notify_leaders(&lock(&self.pollers));
    }

    /// Whether the last announcement of a request is at least `gap` ago.
    pub(super) fn may_announce_again(&self, gap: Duration) -> bool {
        lock(&self.request_announced).is_none_or(|at| at.elapsed() >= gap)
    }

    async fn write_watched(&self, text: String) {
        let key = &self.keys.changes;
        let mut known = lock(&self.bell).clone();
        for _ in 0..TRIES {
            let expected = Expected::from(known);
            match self.store.write(key, text.clone().into(), expected).await {
                Ok(Some(version)) => {
                    *lock(&self.bell) = Some(version);
                    return;
                }
                Ok(None) => match self.store.read(key).await {
                    Ok(value) => known = value.map(|(_, version)| version),
                    Err(error) => return self.not_announced(&error),
                },
                Err(error) => return self.not_announced(&error),
            }
        }
    }

    fn not_announced(&self, error: &ProviderError) {
        tracing::warn!(
            key = self.keys.changes,
            %error,
            "the change is stored, but the other workers were not notified; they see it at their next tick"
        );
        notify(&lock(&self.pollers));
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Notifies all pollers except the leader's, which reads the head in its renewals and ticks.
fn notify(pollers: &[(Arc<Leadership>, PollerContext)]) {
    for (leadership, poller) in pollers {
        if leadership.term().is_none() {
            poller.notify_changed();
        }
    }
}

/// Notifies the pollers that lead: their decision takes a request for a refresh.
fn notify_leaders(pollers: &[(Arc<Leadership>, PollerContext)]) {
    for (leadership, poller) in pollers {
        if leadership.term().is_some() {
            poller.notify_changed();
        }
    }
}

/// Whether both records have the same renewal of the same lease. Writes of workers that do not lead renew nothing.
fn same_lease(one: &Record, other: &Record) -> bool {
    match (&one.content, &other.content) {
        (Content::Head(one), Content::Head(other)) => {
            one.leader == other.leader && one.term == other.term && one.renewal == other.renewal
        }
        _ => one.version == other.version,
    }
}
