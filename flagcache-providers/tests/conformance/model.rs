//! A small store that keeps every rule, or breaks exactly one.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use flagcache_core::{
    FetchErrorKind, FetchOutcome, FlagDefinitionCacheData, FlagDefinitionCacheProvider,
    FleetFailure, FleetStatus, PollerContext, ProviderError, ProviderErrorKind,
};
use flagcache_providers::testing::conformance::TestStore;
use flagcache_providers::testing::{Connections, Outage, ProviderMethod};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

const LEASE: Duration = Duration::from_millis(300);
const LARGEST: usize = 1 << 18;
/// How long a call waits for a server that hangs.
const RESPONSE_TIMEOUT: Duration = Duration::from_millis(100);

/// One mistake, as a real store might make it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    EmptyStoreIsAnError,
    LosesFractions,
    LosesFetchTime,
    EmptySetIsMissing,
    CutsLargeSets,
    CopyDiesWithItsWriter,
    HidesTheStoredCopy,
    TakesSameLengthForSame,
    EmptiesTheCopyOnQuota,
    WritesInTwoHalves,
    CreatorOverwrites,
    ChecksThenCreates,
    LateLeaderOverwrites,
    ChecksThenLeads,
    RefusesToBeAskedTwice,
    NeverRenews,
    LeaseIsFiveTimesAsLong,
    DroppedLeaderLeadsOn,
    ShutdownKeepsTheLead,
    FollowerShutdownFreesTheLead,
    StaysOutWithTheLead,
    ComesStraightBack,
    PublishTellsNobody,
    ReleaseTellsNobody,
    NeverConfirmsAgain,
    HidesTheLease,
    HidesTheQuota,
    ForgetsTheAgeOfAFailure,
    RefusedKeyLeads,
    KeepsTheRequest,
    RequestWakesNobody,
    NotifiesOfRenewals,
    InterruptedPublishIsFine,
    GarbageIsAnEmptyStore,
    RefusesOtherSdks,
    RestoresOnlyOnFailure,
    RestoresOnlyWhenUnchanged,
    RestoresOnlyTheMissing,
    RemembersTheCopy,
    FailureReplacesANewerCopy,
    NotifiesItself,
    RestoresInSilence,
    FollowerConfirms,
    OutageIsAnEmptyStore,
    WaitsForAHangingServer,
    ReadsNeverAgainAfterAFailure,
    ReconnectsInSilence,
    NeverSubscribesAgain,
    KeepsItsConnection,
    StaysBusyWhenCut(ProviderMethod),
    UnusedShutdownFails,
    DropNeedsARuntime,
}

#[derive(Clone)]
pub(crate) struct Model {
    board: Arc<Mutex<Board>>,
    ids: Arc<AtomicU64>,
    bug: Option<Bug>,
}

#[derive(Default)]
struct Board {
    copy: Option<Bytes>,
    lead: Option<(u64, Instant)>,
    confirmed_at: Option<Instant>,
    quota_limited: bool,
    refresh_requested: bool,
    failure: Option<(FleetFailure, Instant)>,
    contexts: HashMap<u64, PollerContext>,
    busy: bool,
    outage: Option<Outage>,
    connected: HashSet<u64>,
    opened: u64,
}

impl Model {
    pub(crate) fn sound() -> Self {
        Self {
            board: Arc::default(),
            ids: Arc::default(),
            bug: None,
        }
    }

    pub(crate) fn with(bug: Bug) -> Self {
        Self {
            bug: Some(bug),
            ..Self::sound()
        }
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap()
    }

    fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }
}

#[async_trait]
impl TestStore for Model {
    fn provider(&self) -> Arc<dyn FlagDefinitionCacheProvider> {
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        Arc::new(ModelProvider {
            model: self.clone(),
            id,
            has_led: AtomicBool::new(false),
            has_created: AtomicBool::new(false),
            asked_at: Mutex::default(),
            out_until: Mutex::default(),
            remembered: Mutex::default(),
            read_failed: AtomicBool::new(false),
        })
    }

    fn lease_time(&self) -> Duration {
        LEASE
    }

    fn notification_time(&self) -> Duration {
        Duration::from_millis(200)
    }

    async fn damage(&self, copy: Option<Bytes>) {
        self.board().copy = copy;
    }

    async fn outage(&self, outage: Outage) {
        let mut board = self.board();
        let was = board.outage.replace(outage);
        match outage {
            Outage::Cut => board.connected.clear(),
            Outage::Hang => {}
            Outage::Healed if was == Some(Outage::Cut) => {
                if !self.has(Bug::ReconnectsInSilence) {
                    board
                        .contexts
                        .values()
                        .for_each(PollerContext::notify_changed);
                }
                if self.has(Bug::NeverSubscribesAgain) {
                    board.contexts.clear();
                }
            }
            Outage::Healed => {}
        }
    }

    fn connections(&self) -> Connections {
        let board = self.board();
        Connections {
            open: board.connected.len(),
            opened: board.opened,
        }
    }
}

struct ModelProvider {
    model: Model,
    id: u64,
    has_led: AtomicBool,
    has_created: AtomicBool,
    asked_at: Mutex<Option<Instant>>,
    out_until: Mutex<Option<Instant>>,
    remembered: Mutex<Option<Bytes>>,
    read_failed: AtomicBool,
}

impl ModelProvider {
    fn has(&self, bug: Bug) -> bool {
        self.model.has(bug)
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.model.board()
    }

    fn holds_lead(&self) -> bool {
        self.board()
            .lead
            .is_some_and(|(leader, _)| leader == self.id)
    }

    fn release(&self) {
        self.board().lead = None;
        if !self.has(Bug::ReleaseTellsNobody) {
            self.tell_others();
        }
    }

    fn tell_others(&self) {
        self.board()
            .contexts
            .iter()
            .filter(|(id, _)| **id != self.id)
            .for_each(|(_, context)| context.notify_changed());
    }

    fn report(&self) {
        let board = self.board();
        let now = Instant::now();
        let lead = board
            .lead
            .filter(|(leader, _)| *leader != self.id && !self.has(Bug::HidesTheLease));
        let report = FleetStatus::new()
            .confirmed_ago(board.confirmed_at.map(|at| now - at))
            .lease_ends_in(
                lead.map(|(_, ends_at)| ends_at.saturating_duration_since(now).min(LEASE)),
            )
            .quota_limited(board.quota_limited && !self.has(Bug::HidesTheQuota))
            .fleet_failure(self.failure_of(&board))
            .refresh_requested(
                board.refresh_requested && board.lead.is_some_and(|(leader, _)| leader == self.id),
            );
        if let Some(context) = board.contexts.get(&self.id) {
            context.report(report);
        }
    }

    fn failure(&self) -> Option<FleetFailure> {
        self.failure_of(&self.board())
    }

    fn failure_of(&self, board: &Board) -> Option<FleetFailure> {
        let (failure, at) = board.failure?;
        Some(match self.has(Bug::ForgetsTheAgeOfAFailure) {
            true => failure,
            false => failure.with_age(at.elapsed()),
        })
    }

    /// What each call begins with: one at a time where the bug says so, over a connection, in bounded time.
    async fn begin(&self, method: ProviderMethod) -> Result<(), ProviderError> {
        while self.board().busy {
            sleep(Duration::from_millis(1)).await;
        }
        self.board().busy = self.has(Bug::StaysBusyWhenCut(method));
        yield_now().await;
        let deadline = Instant::now() + RESPONSE_TIMEOUT;
        let reached = loop {
            match self.board().outage {
                Some(Outage::Cut) => break false,
                Some(Outage::Hang) => {}
                Some(Outage::Healed) | None => break true,
            }
            let waits = self.has(Bug::WaitsForAHangingServer) && method == ProviderMethod::Peek;
            if Instant::now() > deadline && !waits {
                break false;
            }
            sleep(Duration::from_millis(5)).await;
        };
        let mut board = self.board();
        board.busy = false;
        if !reached {
            return Err(ProviderError::new(
                ProviderErrorKind::Unavailable,
                "the server cannot be reached",
            ));
        }
        if board.connected.insert(self.id) {
            board.opened += 1;
        }
        Ok(())
    }

    async fn read(&self) -> Result<Option<FlagDefinitionCacheData>, ProviderError> {
        let copy = self.board().copy.clone();
        if copy.is_some() && self.has(Bug::RemembersTheCopy) {
            self.remembered.lock().unwrap().clone_from(&copy);
        }
        let Some(copy) = copy.or_else(|| self.remembered.lock().unwrap().clone()) else {
            if self.has(Bug::EmptyStoreIsAnError) {
                return Err(ProviderError::new(
                    ProviderErrorKind::Other,
                    "there is no copy",
                ));
            }
            return Ok(None);
        };
        match FlagDefinitionCacheData::from_json(copy) {
            Ok(set) if set.is_empty() && self.has(Bug::EmptySetIsMissing) => Ok(None),
            Ok(set) if set.etag().is_none() && self.has(Bug::RefusesOtherSdks) => Err(
                ProviderError::new(ProviderErrorKind::InvalidData, "the copy has no metadata"),
            ),
            Ok(set) => Ok(Some(set)),
            Err(_) if self.has(Bug::GarbageIsAnEmptyStore) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn encode(&self, data: &FlagDefinitionCacheData) -> Bytes {
        let mut stored = data.to_json();
        let raw = String::from_utf8(data.raw_json().to_vec()).unwrap();
        if self.has(Bug::LosesFractions) {
            let raw = raw.replace("33.333333333333333333", "33.333333333333336");
            let fetched_at = data.fetched_at().unwrap();
            stored = FlagDefinitionCacheData::from_api_response(
                raw,
                data.etag(),
                fetched_at,
                data.project(),
            )
            .unwrap()
            .to_json();
        } else if self.has(Bug::LosesFetchTime) {
            let at = SystemTime::UNIX_EPOCH;
            stored =
                FlagDefinitionCacheData::from_api_response(raw, data.etag(), at, data.project())
                    .unwrap()
                    .to_json();
        } else if self.has(Bug::CutsLargeSets) {
            stored.truncate(LARGEST);
        }
        stored
    }

    async fn write(&self, data: &FlagDefinitionCacheData) {
        let stored = self.encode(data);
        if self.has(Bug::WritesInTwoHalves) && self.board().copy.is_some() {
            self.board().copy = Some(stored.slice(..stored.len() / 2));
            yield_now().await;
        }
        if self.has(Bug::TakesSameLengthForSame)
            && self.board().copy.as_ref().map(Bytes::len) == Some(stored.len())
        {
            return;
        }
        self.board().copy = Some(stored);
        // After an outage it notifies again: that is another rule.
        if !self.has(Bug::PublishTellsNobody) || self.board().outage.is_some() {
            self.tell_others();
        }
        if self.has(Bug::NotifiesItself)
            && let Some(context) = self.board().contexts.get(&self.id)
        {
            context.notify_changed();
        }
    }

    async fn create(&self, data: &FlagDefinitionCacheData) {
        if self.has(Bug::ChecksThenCreates) {
            if self.board().copy.is_none() {
                sleep(Duration::from_millis(self.id)).await;
                self.write(data).await;
            }
            return;
        }
        let stored = self.encode(data);
        {
            let mut board = self.board();
            if board.copy.is_some() {
                return;
            }
            board.copy = Some(stored);
        }
        self.has_created.store(true, Ordering::Relaxed);
        self.tell_others();
    }

    fn must_restore(&self, outcome: &FetchOutcome, data: &FlagDefinitionCacheData) -> bool {
        let copy = self.board().copy.clone();
        let only_missing = self.has(Bug::RestoresOnlyTheMissing);
        match copy {
            None if outcome.is_unchanged() => !self.has(Bug::RestoresOnlyOnFailure),
            None => !self.has(Bug::RestoresOnlyWhenUnchanged),
            Some(copy) if outcome.is_unchanged() => copy != data.to_json() && !only_missing,
            Some(copy) => copy != data.to_json() && self.has(Bug::FailureReplacesANewerCopy),
        }
    }
}

#[async_trait]
impl FlagDefinitionCacheProvider for ModelProvider {
    async fn should_fetch_flag_definitions(&self) -> Result<bool, ProviderError> {
        self.begin(ProviderMethod::ShouldFetch).await?;
        self.report();
        let now = Instant::now();
        let asked_before = self
            .asked_at
            .lock()
            .unwrap()
            .replace(now)
            .is_some_and(|before| now - before < LEASE / 30);
        if self
            .out_until
            .lock()
            .unwrap()
            .is_some_and(|until| until > now)
        {
            return Ok(false);
        }
        let key = self
            .board()
            .contexts
            .get(&self.id)
            .and_then(|link| link.schedule()?.key);
        let is_barred = self.failure().is_some_and(|failure| failure.bars(key));
        if is_barred && !self.has(Bug::RefusedKeyLeads) {
            return Ok(false);
        }
        let lead = self.board().lead;
        if lead.is_some_and(|(leader, ends_at)| leader != self.id && ends_at > now) {
            return Ok(false);
        }
        if self.has(Bug::ChecksThenLeads) {
            yield_now().await;
        }
        let is_renewal = lead.is_some_and(|(leader, ends_at)| leader == self.id && ends_at > now);
        if !(is_renewal && self.has(Bug::NeverRenews)) {
            let lease = if self.has(Bug::LeaseIsFiveTimesAsLong) {
                LEASE * 5
            } else {
                LEASE
            };
            self.board().lead = Some((self.id, now + lease));
        }
        self.has_led.store(true, Ordering::Relaxed);
        self.report();
        if !self.has(Bug::KeepsTheRequest) {
            self.board().refresh_requested = false;
        }
        if is_renewal && self.has(Bug::NotifiesOfRenewals) {
            self.tell_others();
        }
        Ok(!(is_renewal && asked_before && self.has(Bug::RefusesToBeAskedTwice)))
    }

    async fn get_flag_definitions(&self) -> Result<Option<FlagDefinitionCacheData>, ProviderError> {
        let begun = match self.read_failed.load(Ordering::Relaxed)
            && self.has(Bug::ReadsNeverAgainAfterAFailure)
        {
            true => Err(ProviderError::new(
                ProviderErrorKind::Unavailable,
                "the connection is closed",
            )),
            false => self.begin(ProviderMethod::Get).await,
        };
        if begun.is_err() {
            self.read_failed.store(true, Ordering::Relaxed);
            let cut = self.board().outage == Some(Outage::Cut);
            return if cut && self.has(Bug::OutageIsAnEmptyStore) {
                Ok(None)
            } else {
                begun.map(|()| None)
            };
        }
        self.read().await
    }

    async fn on_flag_definitions_received(
        &self,
        data: &FlagDefinitionCacheData,
    ) -> Result<(), ProviderError> {
        self.begin(ProviderMethod::Received).await?;
        if self.has(Bug::InterruptedPublishIsFine) {
            yield_now().await;
            if self.board().outage == Some(Outage::Cut) {
                return Ok(());
            }
        }
        let was_late = self.has_led.load(Ordering::Relaxed) && self.has(Bug::LateLeaderOverwrites);
        let is_creator =
            self.has_created.load(Ordering::Relaxed) && self.has(Bug::CreatorOverwrites);
        if self.holds_lead() || was_late || is_creator {
            self.write(data).await;
            let mut board = self.board();
            board.confirmed_at = Some(Instant::now());
            board.quota_limited = false;
            board.failure = None;
        } else {
            self.create(data).await;
        }
        Ok(())
    }

    async fn shutdown(&self) -> Result<(), ProviderError> {
        self.begin(ProviderMethod::Shutdown).await?;
        if !self.has(Bug::KeepsItsConnection) {
            self.board().connected.remove(&self.id);
        }
        if self.has(Bug::UnusedShutdownFails) && self.asked_at.lock().unwrap().is_none() {
            return Err(ProviderError::new(
                ProviderErrorKind::Other,
                "there is no lead to release",
            ));
        }
        if self.has(Bug::CopyDiesWithItsWriter) && self.holds_lead() {
            self.board().copy = None;
        }
        if self.has(Bug::ShutdownKeepsTheLead) {
            self.tell_others();
        } else if self.holds_lead() || self.has(Bug::FollowerShutdownFreesTheLead) {
            self.release();
        }
        Ok(())
    }

    async fn peek_flag_definitions(
        &self,
    ) -> Result<Option<FlagDefinitionCacheData>, ProviderError> {
        if self.has(Bug::HidesTheStoredCopy) {
            return Ok(None);
        }
        self.begin(ProviderMethod::Peek).await?;
        // Not by `read`: an empty store is no error here, whatever the bug.
        let copy = self.board().copy.clone();
        Ok(copy.and_then(|copy| FlagDefinitionCacheData::from_json(copy).ok()))
    }

    async fn request_refresh(&self) -> Result<bool, ProviderError> {
        self.begin(ProviderMethod::RequestRefresh).await?;
        let mut board = self.board();
        board.refresh_requested = true;
        let leader = board
            .lead
            .and_then(|(leader, _)| board.contexts.get(&leader));
        if let Some(leader) = leader.filter(|_| !self.has(Bug::RequestWakesNobody)) {
            leader.notify_refresh_requested();
        }
        Ok(true)
    }

    async fn on_fetch_without_update(&self, outcome: FetchOutcome) -> Result<(), ProviderError> {
        self.begin(ProviderMethod::FetchWithoutUpdate).await?;
        let leads = self.holds_lead();
        if leads || self.has(Bug::FollowerConfirms) {
            let mut board = self.board();
            if let Some(failure) = outcome.fleet_failure().filter(|_| leads) {
                board.failure = Some((failure, Instant::now()));
            }
            if outcome.is_unchanged() {
                board.quota_limited = false;
                board.failure = None;
                if !self.has(Bug::NeverConfirmsAgain) {
                    board.confirmed_at = Some(Instant::now());
                }
            }
            if outcome.failure() == Some(FetchErrorKind::QuotaLimited) {
                board.quota_limited = true;
                if self.has(Bug::EmptiesTheCopyOnQuota) {
                    board.copy = Some(Bytes::from_static(br#"{"flags":[]}"#));
                }
            }
        }
        if let Some(data) = outcome
            .data()
            .filter(|data| self.must_restore(&outcome, data))
        {
            if self.has(Bug::RestoresInSilence) {
                self.board().copy = Some(self.encode(data));
            } else {
                self.write(data).await;
                self.tell_others();
            }
        }
        if let Some(duration) = outcome.step_down_for() {
            if !self.has(Bug::ComesStraightBack) {
                *self.out_until.lock().unwrap() = Some(Instant::now() + duration);
            }
            if self.holds_lead() && !self.has(Bug::StaysOutWithTheLead) {
                self.release();
            }
        }
        Ok(())
    }

    fn on_poller_attached(&self, context: PollerContext) {
        self.board().contexts.insert(self.id, context);
    }
}

impl Drop for ModelProvider {
    fn drop(&mut self) {
        if self.has(Bug::DropNeedsARuntime) {
            tokio::runtime::Handle::current();
        }
        self.board().contexts.remove(&self.id);
        if !self.has(Bug::KeepsItsConnection) {
            self.board().connected.remove(&self.id);
        }
        if self.holds_lead() {
            if self.has(Bug::DroppedLeaderLeadsOn) {
                self.board().lead = Some((self.id, Instant::now() + LEASE * 1_000));
            } else {
                self.release();
            }
        }
    }
}
