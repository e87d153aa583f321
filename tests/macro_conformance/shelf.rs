//! A store in memory with every capability, in plain methods.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use flagcache::{
    DataError, FetchErrorKind, FetchOutcome, FlagDefinitionCacheData, FlagDefinitionCacheProvider,
    FleetStatus, PollerContext,
};
use flagcache_providers::testing::conformance::TestStore;

pub(crate) const LEASE: Duration = Duration::from_secs(1);

/// What all workers see.
#[derive(Default)]
struct Board {
    copy: Option<Bytes>,
    lead: Option<(u64, Instant)>,
    confirmed_at: Option<Instant>,
    quota_limited: bool,
    links: HashMap<u64, PollerContext>,
    steps_down_until: HashMap<u64, Instant>,
}

/// One worker's access to a board; its clones are the same worker.
#[derive(Clone)]
pub(crate) struct Shelf {
    worker: u64,
    board: Arc<Mutex<Board>>,
}

impl Shelf {
    pub(crate) fn attach(&self, link: PollerContext) {
        self.board().links.insert(self.worker, link);
    }

    pub(crate) fn decide(&self) -> bool {
        let now = Instant::now();
        let mut board = self.board();
        let steps_down = board
            .steps_down_until
            .get(&self.worker)
            .is_some_and(|until| *until > now);
        let is_anothers = board
            .lead
            .is_some_and(|(leader, ends_at)| leader != self.worker && ends_at > now);
        let leads = !steps_down && !is_anothers;
        if leads {
            board.lead = Some((self.worker, now + LEASE));
        }
        if let Some(link) = board.links.get(&self.worker) {
            let report = FleetStatus::new()
                .confirmed_ago(board.confirmed_at.map(|at| now - at))
                .lease_ends_in(
                    board
                        .lead
                        .map(|(_, ends_at)| ends_at.saturating_duration_since(now)),
                )
                .quota_limited(board.quota_limited);
            link.report(report);
        }
        leads
    }

    pub(crate) fn read(&self) -> Result<Option<FlagDefinitionCacheData>, DataError> {
        let copy = self.board().copy.clone();
        copy.map(FlagDefinitionCacheData::from_json).transpose()
    }

    pub(crate) fn write(&self, data: &FlagDefinitionCacheData) {
        let mut board = self.board();
        if self.leads(&board) {
            board.confirmed_at = Some(Instant::now());
            board.quota_limited = false;
        } else if board.copy.is_some() {
            return;
        }
        board.copy = Some(data.to_json());
        self.notify_others(&board);
    }

    pub(crate) fn fetched_nothing_new(&self, outcome: &FetchOutcome) {
        let mut board = self.board();
        if let Some(duration) = outcome.step_down_for() {
            board
                .steps_down_until
                .insert(self.worker, Instant::now() + duration);
        }
        if !self.leads(&board) {
            return;
        }
        if outcome.is_unchanged() {
            board.confirmed_at = Some(Instant::now());
        }
        board.quota_limited = outcome.failure() == Some(FetchErrorKind::QuotaLimited);
        if let Some(copy) = outcome.data().map(FlagDefinitionCacheData::to_json) {
            let is_damaged = outcome.is_unchanged() && board.copy.as_ref() != Some(&copy);
            if board.copy.is_none() || is_damaged {
                board.copy = Some(copy);
                self.notify_others(&board);
            }
        }
        if outcome.step_down_for().is_some() {
            board.lead = None;
            self.notify_others(&board);
        }
    }

    pub(crate) fn end(&self) {
        let mut board = self.board();
        board.links.remove(&self.worker);
        if self.leads(&board) {
            board.lead = None;
            self.notify_others(&board);
        }
    }

    fn leads(&self, board: &Board) -> bool {
        board.lead.is_some_and(|(leader, _)| leader == self.worker)
    }

    fn notify_others(&self, board: &Board) {
        board
            .links
            .iter()
            .filter(|(worker, _)| **worker != self.worker)
            .for_each(|(_, link)| link.notify_changed());
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap()
    }
}

/// A board, and how a worker makes a provider of its access to it.
pub(crate) struct Store {
    board: Arc<Mutex<Board>>,
    next: AtomicU64,
    provider: fn(Shelf) -> Arc<dyn FlagDefinitionCacheProvider>,
}

impl Store {
    pub(crate) fn of(provider: fn(Shelf) -> Arc<dyn FlagDefinitionCacheProvider>) -> Self {
        Self {
            board: Arc::default(),
            next: AtomicU64::new(0),
            provider,
        }
    }
}

#[async_trait::async_trait]
impl TestStore for Store {
    fn provider(&self) -> Arc<dyn FlagDefinitionCacheProvider> {
        let worker = self.next.fetch_add(1, Ordering::Relaxed);
        (self.provider)(Shelf {
            worker,
            board: Arc::clone(&self.board),
        })
    }

    fn lease_time(&self) -> Duration {
        LEASE
    }

    async fn damage(&self, copy: Option<Bytes>) {
        self.board.lock().unwrap().copy = copy;
    }
}
