//! A provider of your own with all optional methods. A value in memory takes the place of the server.
//!
//! ```text
//! cargo run --example leased_provider
//! ```
//!
//! The page "Write a provider" of the guide shows this code; `tests/examples.rs` runs the conformance kit on it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use flagcache::{
    DataError, FetchOutcome, FlagDefinitionCacheData, FlagDefinitionCacheProvider, FleetStatus,
    PollerContext, flag_cache_provider,
};

/// The state that the workers share.
pub(crate) type Shared = Arc<Mutex<Row>>;

#[derive(Default)]
pub(crate) struct Row {
    pub(crate) copy: Option<Vec<u8>>,
    confirmed_at: Option<Instant>,
    leader: Option<(u32, Instant)>,
    workers: Vec<(u32, PollerContext)>,
}

/// One worker's provider. No two workers of a fleet have the same number.
pub(crate) struct Leased {
    worker: u32,
    lease: Duration,
    row: Shared,
    steps_down_until: Mutex<Option<Instant>>,
}

impl Leased {
    pub(crate) fn new(worker: u32, lease: Duration, row: &Shared) -> Self {
        Self {
            worker,
            lease,
            row: Arc::clone(row),
            steps_down_until: Mutex::default(),
        }
    }

    fn row(&self) -> MutexGuard<'_, Row> {
        self.row.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn steps_down_until(&self) -> MutexGuard<'_, Option<Instant>> {
        self.steps_down_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Row {
    /// Also true while no other worker has acquired the expired lease: nothing newer can be overwritten until then.
    fn leads(&self, worker: u32) -> bool {
        self.leader.is_some_and(|(leader, _)| leader == worker)
    }

    /// Notifies all workers except `worker`, which caused the change.
    fn notify_others(&self, worker: u32) {
        let others = self.workers.iter().filter(|(other, _)| *other != worker);
        others.for_each(|(_, poller)| poller.notify_changed());
    }

    /// Stores the copy: the leader may overwrite, other workers only fill an empty row.
    fn store(&mut self, worker: u32, data: &FlagDefinitionCacheData) -> bool {
        let may_store = self.leads(worker) || self.copy.is_none();
        if may_store {
            self.copy = Some(data.to_json().to_vec());
            self.notify_others(worker);
        }
        may_store
    }

    fn release(&mut self, worker: u32) {
        if self.leads(worker) {
            self.leader = None;
            self.notify_others(worker);
        }
    }
}

#[flag_cache_provider]
impl Leased {
    fn should_fetch_flag_definitions(&self) -> bool {
        let now = Instant::now();
        let steps_down = self.steps_down_until().is_some_and(|until| now < until);
        let mut row = self.row();
        let taken = row
            .leader
            .is_some_and(|(leader, ends)| leader != self.worker && now < ends);
        let leads = !taken && !steps_down;
        if leads {
            row.leader = Some((self.worker, now + self.lease));
        }
        let report = FleetStatus::new()
            .confirmed_ago(row.confirmed_at.map(|at| now - at))
            .lease_ends_in(
                row.leader
                    .filter(|_| !leads)
                    .map(|(_, ends)| ends.saturating_duration_since(now)),
            );
        for (_, poller) in row
            .workers
            .iter()
            .filter(|(worker, _)| *worker == self.worker)
        {
            poller.report(report);
        }
        leads
    }

    fn get_flag_definitions(&self) -> Result<Option<FlagDefinitionCacheData>, DataError> {
        self.row()
            .copy
            .clone()
            .map(FlagDefinitionCacheData::from_json)
            .transpose()
    }

    fn peek_flag_definitions(&self) -> Result<Option<FlagDefinitionCacheData>, DataError> {
        self.get_flag_definitions()
    }

    fn on_flag_definitions_received(&self, data: &FlagDefinitionCacheData) {
        let mut row = self.row();
        if row.store(self.worker, data) {
            row.confirmed_at = Some(Instant::now());
        }
    }

    fn on_fetch_without_update(&self, outcome: FetchOutcome) {
        let copy = self.get_flag_definitions().ok().flatten();
        let mut row = self.row();
        if let Some(data) = outcome.data() {
            // Store what the API just confirmed; after a failure, keep a stored copy that was fetched later.
            let stays = copy.is_some_and(|copy| {
                copy.copy_id() == data.copy_id()
                    || (!outcome.is_unchanged() && copy.fetched_at() > data.fetched_at())
            });
            if !stays {
                row.store(self.worker, data);
            }
        }
        if outcome.is_unchanged() && row.leads(self.worker) {
            row.confirmed_at = Some(Instant::now());
        }
        if let Some(duration) = outcome.step_down_for() {
            *self.steps_down_until() = Some(Instant::now() + duration);
            row.release(self.worker);
        }
    }

    fn on_poller_attached(&self, poller: PollerContext) {
        self.row().workers.push((self.worker, poller));
    }

    fn shutdown(&self) {
        let mut row = self.row();
        row.release(self.worker);
        row.workers.retain(|(worker, _)| *worker != self.worker);
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let row = Shared::default();
    let [first, second] = [1, 2].map(|worker| Leased::new(worker, Duration::from_secs(60), &row));

    // The methods can be called directly; through the trait they are async.
    assert!(first.should_fetch_flag_definitions());
    let second: &dyn FlagDefinitionCacheProvider = &second;
    assert!(!second.should_fetch_flag_definitions().await?);

    first.on_flag_definitions_received(&FlagDefinitionCacheData::from_json(r#"{"flags":[]}"#)?);
    assert!(second.get_flag_definitions().await?.is_some());

    first.shutdown();
    assert!(second.should_fetch_flag_definitions().await?);
    Ok(())
}
