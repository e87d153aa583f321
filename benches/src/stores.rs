//! The stores that are measured, with a leader and a follower on each.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use flagcache_core::{
    FlagDefinitionCacheData, FlagDefinitionCacheProvider, PollerContextOwner, PollerSchedule,
};
use flagcache_providers::{FileStore, MemoryStore};
use tempfile::TempDir;

/// Beyond the end of a bench, so that the lease needs no renewal.
const HOUR: Duration = Duration::from_secs(3_600);

/// A provider of whatever store.
pub type Provider = Box<dyn FlagDefinitionCacheProvider>;

/// A store that several pollers can share; all but memory, several processes.
#[derive(Clone, Debug)]
pub enum StoreLocation {
    /// The memory of one process.
    Memory(MemoryStore),
    /// A folder.
    File(PathBuf),
    /// The URL of a server. With `whole+` before it, changes move whole copies, not patches.
    Redis(String),
}

impl StoreLocation {
    /// Before the URL of a server: changes move whole copies.
    pub const WHOLE: &str = "whole+";

    /// What [`to_string`](ToString::to_string) gave, for another process.
    pub fn parse(text: &str) -> Self {
        match text {
            "memory" => Self::Memory(MemoryStore::new()),
            url if url.starts_with("redis:") || url.starts_with(Self::WHOLE) => {
                Self::Redis(url.to_owned())
            }
            folder => Self::File(folder.into()),
        }
    }

    /// A provider as a process of its own has it. `lock_ttl` is for Redis; so is the timeout of a call, which is ample.
    pub fn provider(&self, service: &str, lock_ttl: Duration) -> Provider {
        match self {
            Self::Memory(store) => Box::new(store.provider()),
            Self::File(folder) => Box::new(
                FileStore::builder(folder, service)
                    .build()
                    .expect("a store of files")
                    .provider(),
            ),
            #[cfg(feature = "redis")]
            Self::Redis(url) => {
                let whole = url.strip_prefix(Self::WHOLE);
                let url = whole.unwrap_or(url);
                let builder = flagcache_providers::RedisStore::builder(url, service)
                    .response_timeout(Duration::from_secs(10).min(lock_ttl / 4))
                    .lock_ttl(lock_ttl);
                let builder = match whole {
                    Some(_) => builder.without_patches(),
                    None => builder,
                };
                Box::new(builder.build().expect("a store in Redis").provider())
            }
            #[cfg(not(feature = "redis"))]
            Self::Redis(_) => {
                panic!("cannot open {service} for {lock_ttl:?}: built without feature `redis`")
            }
        }
    }
}

impl fmt::Display for StoreLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory(_) => f.write_str("memory"),
            Self::File(folder) => folder.display().fmt(f),
            Self::Redis(url) => f.write_str(url),
        }
    }
}

/// Where the stores are. All of it goes when this is dropped.
#[derive(Debug)]
pub struct Stores {
    folder: TempDir,
    #[cfg(feature = "redis")]
    redis: flagcache_test_support::RedisServer,
    services: u32,
}

impl Stores {
    /// The names of the stores.
    #[cfg(feature = "redis")]
    pub const NAMES: &[&str] = &["memory", "file", "redis"];
    /// The names of the stores.
    #[cfg(not(feature = "redis"))]
    pub const NAMES: &[&str] = &["memory", "file"];

    /// Makes a folder, and starts a server.
    #[expect(clippy::new_without_default, reason = "it starts a server")]
    pub fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
            #[cfg(feature = "redis")]
            redis: flagcache_test_support::RedisServer::start(),
            services: 0,
        }
    }

    /// Providers of a new service on the store of this name: one that will lead, and one that will follow, each as in a
    /// process of its own.
    fn providers(&mut self, store: &str) -> [Provider; 2] {
        self.services += 1;
        let service = format!("service-{}", self.services);
        match store {
            "memory" => {
                let store = MemoryStore::with_lease(HOUR);
                [Box::new(store.provider()), Box::new(store.provider())]
            }
            "file" => [(); 2].map(|()| {
                StoreLocation::File(self.folder.path().to_owned()).provider(&service, HOUR)
            }),
            #[cfg(feature = "redis")]
            "redis" => {
                [(); 2].map(|()| StoreLocation::Redis(self.redis.url()).provider(&service, HOUR))
            }
            _ => panic!("there is no store {store}"),
        }
    }

    /// A pair on the store of this name.
    pub async fn pair(&mut self, store: &str, set: &FlagDefinitionCacheData) -> Pair {
        let providers = self.providers(store);
        Pair::new(providers, set).await
    }
}

/// A leader that has published, and a follower that has read. Their poller contexts stay alive with them.
#[expect(missing_debug_implementations, reason = "a provider need have none")]
pub struct Pair {
    leader: Provider,
    follower: Provider,
    _lines: [PollerContextOwner; 2],
}

impl Pair {
    async fn new(providers: [Provider; 2], set: &FlagDefinitionCacheData) -> Self {
        let lines = [0, 1].map(|at: usize| {
            let line = PollerContextOwner::new(PollerSchedule::new(HOUR));
            providers[at].on_poller_attached(line.context());
            line
        });
        let [leader, follower] = providers;
        let pair = Self {
            leader,
            follower,
            _lines: lines,
        };
        pair.publish(set).await;
        assert!(pair.tick().await.same_content(set));
        pair
    }

    /// A follower's load.
    pub async fn tick(&self) -> FlagDefinitionCacheData {
        assert!(
            !self
                .follower
                .should_fetch_flag_definitions()
                .await
                .expect("a decision"),
            "the other one leads"
        );
        self.follower
            .get_flag_definitions()
            .await
            .expect("a read")
            .expect("a copy")
    }

    /// The part of a leader's load that the store sees.
    pub async fn publish(&self, set: &FlagDefinitionCacheData) {
        assert!(
            self.leader
                .should_fetch_flag_definitions()
                .await
                .expect("a decision"),
            "the first one leads"
        );
        self.leader
            .on_flag_definitions_received(set)
            .await
            .expect("a publish");
    }
}
