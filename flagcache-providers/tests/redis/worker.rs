//! A worker: a provider, and a stand-in for its poller.

use std::time::{Duration, SystemTime};

use flagcache_core::{
    FetchErrorKind, FetchOutcome, FlagDefinitionCacheData, FlagDefinitionCacheProvider,
    PollerSchedule,
};
use flagcache_providers::redis::{RedisProvider, RedisStore, RedisStoreBuilder};
use flagcache_test_support::RedisServer;

#[path = "../support/worker.rs"]
mod test_worker;

pub(crate) const SERVICE: &str = "checkout";
pub(crate) const DATA: &str = "posthog:flags:checkout";
pub(crate) const LOCK: &str = "posthog:flags:checkout:lock";
pub(crate) const META: &str = "posthog:flags:checkout:meta";
pub(crate) const PATCHES: &str = "posthog:flags:checkout:patches";
pub(crate) const STAGING: &str = "posthog:flags:checkout:staging";
pub(crate) const CHANNEL: &str = "posthog:flags:checkout:changes";

pub(crate) type Worker = test_worker::Worker<RedisProvider>;

impl Worker {
    /// A worker with a store, and so a connection, of its own, as in a process of its own.
    pub(crate) fn of(server: &RedisServer) -> Self {
        Self::with(builder(server))
    }

    pub(crate) fn with(builder: RedisStoreBuilder) -> Self {
        Self::on(&builder.build().unwrap())
    }

    /// One of several workers of a store.
    pub(crate) fn on(store: &RedisStore) -> Self {
        Self::polling(store, Duration::from_secs(30))
    }

    pub(crate) fn polling(store: &RedisStore, interval: Duration) -> Self {
        Self::attached(store.provider(), PollerSchedule::new(interval))
    }

    /// A follower's load.
    pub(crate) async fn follow(&self) -> Option<FlagDefinitionCacheData> {
        assert!(!self.leads().await, "another worker should lead");
        self.read().await.unwrap()
    }

    /// A leader's load that brings `data`.
    pub(crate) async fn lead_with(&self, data: &FlagDefinitionCacheData) {
        assert!(self.leads().await, "this worker should lead");
        self.publish(data).await.unwrap();
    }

    pub(crate) async fn unchanged(&self, data: &FlagDefinitionCacheData) {
        self.fetch_without_update(FetchOutcome::unchanged(data))
            .await
            .unwrap();
    }

    pub(crate) async fn failed(&self, failure: FetchErrorKind, data: &FlagDefinitionCacheData) {
        self.fetch_without_update(FetchOutcome::failed(failure, Some(data)))
            .await
            .unwrap();
    }

    pub(crate) async fn shutdown(&self) {
        self.provider.shutdown().await.unwrap();
    }

    /// Discards the notifications so far, until none comes for a while.
    pub(crate) async fn quiet(&self) {
        while self.noticed(Duration::from_millis(150)).await {}
    }
}

pub(crate) fn builder(server: &RedisServer) -> RedisStoreBuilder {
    RedisStore::builder(server.url(), SERVICE)
}

/// TTLs so short that a test can wait for their end.
pub(crate) fn short_lived(server: &RedisServer) -> RedisStoreBuilder {
    builder(server)
        .response_timeout(Duration::from_millis(200))
        .lock_ttl(Duration::from_millis(600))
}

/// The definitions of version `n`, fetched `n` seconds after the others. Large enough for patches.
pub(crate) fn set(n: u64) -> FlagDefinitionCacheData {
    sized(n, 4096)
}

/// The same with `padding` bytes.
pub(crate) fn sized(n: u64, padding: usize) -> FlagDefinitionCacheData {
    let body = format!(
        r#"{{"flags":[{{"key":"v{n}","active":true}}],"group_type_mapping":{{}},"cohorts":{{}},"x":"{}"}}"#,
        "x".repeat(padding)
    );
    let fetched_at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + n);
    FlagDefinitionCacheData::from_api_response(body, Some(&format!("\"v{n}\"")), fetched_at, None)
        .unwrap()
}

/// The version of a set.
pub(crate) fn version(data: &FlagDefinitionCacheData) -> u64 {
    let flag = data.flags().next().expect("a flag");
    flag.key()[1..].parse().unwrap()
}
