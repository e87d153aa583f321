//! The API and the store of a scenario.

use std::time::Duration;

use flagcache_benches::{StoreLocation, bodies};
use flagcache_providers::testing::{ApiStats, ApiStub};
use flagcache_test_support::RedisServer;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::protocol::{Kind, Order, Report, Spec};
use crate::workers::{AMPLE, Workers};

/// Longer than any scenario: no worker polls.
pub(crate) const NO_TICKS: Duration = Duration::from_secs(3_600);

pub(crate) const STORES: [&str; 2] = ["file", "redis"];

pub(crate) struct Environment {
    _runtime: Runtime,
    pub(crate) api: ApiStub,
    pub(crate) store: Store,
    changes: u32,
}

pub(crate) enum Store {
    /// The memory of one process.
    Memory,
    File(TempDir),
    Redis(RedisServer),
    /// Redis, where a change moves the whole copy.
    WholeRedis(RedisServer),
    /// No shared store: each worker polls for itself.
    None,
}

impl Store {
    pub(crate) fn open(name: &str) -> Self {
        match name {
            "memory" => Self::Memory,
            "file" => Self::File(tempfile::tempdir().unwrap()),
            _ => Self::Redis(RedisServer::start()),
        }
    }
}

impl Environment {
    pub(crate) fn new(store: Store, flags: usize) -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let api = runtime.block_on(ApiStub::start()).unwrap();
        api.set_definitions(bodies::body(flags));
        Self {
            _runtime: runtime,
            api,
            store,
            changes: 0,
        }
    }

    /// The settings of each process, except its share of the pollers.
    pub(crate) fn spec(&self, interval: Duration, lock_ttl: Duration) -> Spec {
        let location = match &self.store {
            Store::Memory => Some("memory".to_owned()),
            Store::File(folder) => Some(StoreLocation::File(folder.path().to_owned()).to_string()),
            Store::Redis(server) => Some(server.url()),
            Store::WholeRedis(server) => Some(StoreLocation::WHOLE.to_owned() + &server.url()),
            Store::None => None,
        };
        let kind = match location {
            Some(location) => Kind::Sharing { location, lock_ttl },
            None => Kind::Peer,
        };
        Spec {
            kind,
            api: self.api.url(),
            pollers: 0,
            first: 0,
            interval,
            pause: Duration::ZERO,
        }
    }

    /// The requests that the API has counted so far.
    pub(crate) fn asked(&self) -> ApiStats {
        self.api.stats()
    }

    /// Changes one of the definitions' `flags` flags, never to what it was before.
    pub(crate) fn change(&mut self, flags: usize) {
        self.changes += 1;
        self.api
            .set_definitions(bodies::changed_body(flags, f64::from(self.changes) / 100.0));
    }

    /// Changes a flag and lets the leader fetch it. Returns how long each follower took to install it, from the moment when
    /// the leader began to store it, in ascending order.
    pub(crate) fn spread(&mut self, workers: &mut Workers, flags: usize) -> Vec<Duration> {
        let position = workers.position();
        self.change(flags);
        workers.order(Order::Refresh);
        let (leader, etag, at) = workers.find(position, "a publish", AMPLE, |reports| {
            reports.iter().find_map(|report| match report {
                Report::Publishes { poller, etag, at } => Some((*poller, etag.clone(), *at)),
                _ => None,
            })
        });
        let having = workers.all_have(position, etag.as_deref(), AMPLE);
        let followers = having.iter().filter(|(poller, _)| *poller != leader);
        let mut took: Vec<_> = followers.map(|(_, had)| had.since(at)).collect();
        took.sort();
        took
    }
}

/// A percentile of sorted values.
pub(crate) fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted
        .get((sorted.len() * percent).div_ceil(100).saturating_sub(1))
        .copied()
        .unwrap_or_default()
}

/// In milliseconds.
pub(crate) fn millis(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1e3)
}
