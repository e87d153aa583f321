//! What a follower's tick costs while nothing changes: the decision and the read. It must not depend on the size of the set.
#![allow(missing_docs, clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use flagcache_benches::{Figure, criterion, measure, ratio_in_turn};
use flagcache_core::{FlagDefinitionCacheData, FlagDefinitionCacheProvider, LinkOwner, PollerSchedule};
use flagcache_providers::testing::Definitions;
use flagcache_providers::{FileStore, MemoryStore};
use tokio::runtime::{Builder, Runtime};

/// The sizes in flags: about 10 KB and 10 MB.
const SMALL: usize = 13;
const LARGE: usize = 13_000;
const TARGET: f64 = 1.5;
/// Beyond the end of the bench, so that the leader need not be kept awake.
const HOUR: Duration = Duration::from_secs(3_600);

type Provider = Arc<dyn FlagDefinitionCacheProvider>;

/// A leader that has published, and a follower that has read. The lines to their pollers are kept with them.
struct Pair {
    follower: Provider,
    _leader: Provider,
    _lines: [LinkOwner; 2],
}

impl Pair {
    async fn new(leader: Provider, follower: Provider, set: &FlagDefinitionCacheData) -> Self {
        let lines = [&leader, &follower].map(|provider| {
            let line = LinkOwner::new(PollerSchedule::new(HOUR));
            provider.on_poller_attached(line.link());
            line
        });
        assert!(leader.should_fetch_flag_definitions().await.unwrap(), "the first one leads");
        leader.on_flag_definitions_received(set).await.unwrap();
        let pair = Self { follower, _leader: leader, _lines: lines };
        assert!(pair.tick().await.same_content(set));
        pair
    }

    async fn tick(&self) -> FlagDefinitionCacheData {
        assert!(!self.follower.should_fetch_flag_definitions().await.unwrap(), "the other one leads");
        self.follower.get_flag_definitions().await.unwrap().unwrap()
    }
}

fn set(flags: usize) -> FlagDefinitionCacheData {
    let body = Definitions::realistic(flags, 1).to_json();
    FlagDefinitionCacheData::from_api_response(body, Some("\"1\""), SystemTime::now(), None).unwrap()
}

struct Bench {
    criterion: criterion::Criterion,
    runtime: Runtime,
    rows: Vec<Row>,
}

struct Row {
    store: &'static str,
    small: Figure,
    large: Figure,
    ratio: f64,
}

impl Bench {
    /// Ticks on a store with a small set and on one with a large set. `providers` gives a leader's and a follower's.
    fn store(&mut self, store: &'static str, mut providers: impl FnMut() -> [Provider; 2]) {
        let runtime = &self.runtime;
        let [small, large] = [SMALL, LARGE].map(|flags| {
            let pair = runtime.block_on(async {
                let [leader, follower] = providers();
                Pair::new(leader, follower, &set(flags)).await
            });
            move |times| {
                runtime.block_on(async {
                    for _ in 0..times {
                        std::hint::black_box(pair.tick().await);
                    }
                });
            }
        });
        let figures = [("10 KB", &small), ("10 MB", &large)]
            .map(|(size, ticks)| measure(&mut self.criterion, &format!("unchanged tick/{store}/{size}"), ticks));
        if let [Some(figure), Some(other)] = figures {
            let ratio = ratio_in_turn(&figure, &small, &large);
            self.rows.push(Row { store, small: figure, large: other, ratio });
        }
    }

    fn print(&self) {
        println!("\na follower's unchanged tick    min    median       max");
        for Row { store, small, large, ratio } in &self.rows {
            println!("{store:>8}  10 KB   {small}");
            println!("{store:>8}  10 MB   {large}   in turn with 10 KB: {ratio:.2} times (target: {TARGET})");
        }
    }
}

fn main() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let mut bench = Bench { criterion: criterion(), runtime, rows: Vec::new() };
    bench.store("memory", || {
        let store = MemoryStore::with_lease(HOUR);
        [Arc::new(store.provider()), Arc::new(store.provider())]
    });
    let folder = tempfile::tempdir().unwrap();
    let mut services = 0;
    bench.store("file", || {
        services += 1;
        // Each worker has a store of its own, as another process would.
        let store = || FileStore::builder(folder.path(), format!("service-{services}")).build().unwrap();
        [Arc::new(store().provider()), Arc::new(store().provider())]
    });
    #[cfg(feature = "redis")]
    {
        let server = flagcache_providers::testing::RedisServer::start();
        let mut services = 0;
        bench.store("redis", || {
            services += 1;
            let store = || {
                flagcache_providers::RedisStore::builder(server.url(), format!("service-{services}"))
                    .response_limit(Duration::from_secs(10))
                    .lock_life(HOUR)
                    .build()
                    .unwrap()
            };
            [Arc::new(store().provider()), Arc::new(store().provider())]
        });
    }
    bench.criterion.final_summary();
    bench.print();
}
