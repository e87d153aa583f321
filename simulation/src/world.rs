//! [`World`]: what all workers of a run share.

use std::sync::Arc;
use std::time::Duration;

use flagcache::ProviderError;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};

use crate::api::Api;
use crate::checks::Checks;
use crate::costs::Costs;
use crate::link::Link;
use crate::plan::Plan;
use crate::redis::{Message, Process, Redis, Served};

/// The default of the Redis store.
pub(crate) const LOCK_TTL: Duration = Duration::from_secs(10);

/// The shared state.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) began: Instant,
    pub(crate) redis: Arc<Mutex<Redis>>,
    pub(crate) api: Mutex<Api>,
    pub(crate) checks: Mutex<Checks>,
    /// The connection of the process in each slot.
    pub(crate) links: Mutex<Vec<Arc<Link>>>,
}

impl World {
    pub(crate) fn new(plan: Plan) -> Self {
        let costs = Costs::measured(plan.speed);
        Self {
            began: Instant::now(),
            redis: Arc::new(Mutex::new(Redis::new(
                costs,
                LOCK_TTL,
                plan.patches,
                plan.plant,
            ))),
            api: Mutex::new(Api::new()),
            checks: Mutex::new(Checks::new(&plan)),
            links: Mutex::default(),
            plan,
        }
    }

    /// Sends a worker's call, and counts it if it fails.
    pub(crate) async fn exchange<T>(
        &self,
        link: &Arc<Link>,
        call: impl FnOnce(&mut Redis) -> (Served, T),
    ) -> Result<T, ProviderError> {
        let result = link.exchange(call).await;
        if result.is_err() {
            self.checks.lock().call_failed(link.slot);
        }
        result
    }

    /// Publishes on the channel: every open connection but the sender's gets a notification, one after the other.
    pub(crate) fn notify_fleet(
        self: &Arc<Self>,
        redis: &mut Redis,
        from: Instant,
        sender: Process,
        message: Message,
    ) {
        let open: Vec<Arc<Link>> = self
            .links
            .lock()
            .iter()
            .filter(|link| link.is_open())
            .cloned()
            .collect();
        let at = redis.notify(from, open.len());
        tokio::spawn(async move {
            for (place, link) in open.iter().enumerate() {
                let at = at(place);
                if at > Instant::now() {
                    sleep_until(at).await;
                }
                if link.process != sender {
                    link.notified(message);
                }
            }
        });
    }

    /// The slot of the worker that holds the lock.
    pub(crate) fn leader(&self) -> Option<usize> {
        let process = self.redis.lock().leader()?;
        let links = self.links.lock();
        links
            .iter()
            .find(|link| link.process == process && !link.is_dead())
            .map(|link| link.slot)
    }

    /// Kills the server: all connections close.
    pub(crate) fn kill_redis(self: &Arc<Self>) {
        self.redis.lock().kill();
        let links = self.links.lock().clone();
        for link in links.iter().filter(|link| !link.is_cut()) {
            link.lost();
        }
    }

    /// Starts the server again, with what it had stored or empty.
    pub(crate) fn start_redis(&self, empty: bool) {
        self.redis.lock().start(empty);
        if empty {
            self.checks.lock().leases_lost();
        }
    }
}
