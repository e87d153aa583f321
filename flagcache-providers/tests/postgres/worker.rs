//! One worker: a store of its own, as another process has it, and a provider attached to a poller.

use std::time::Duration;

use flagcache_core::{
    FetchOutcome, FlagDefinitionCacheData, FlagDefinitionCacheProvider, PollerContextOwner,
    PollerSchedule, ProviderError,
};
use flagcache_providers::{PostgresStore, VersionedProvider};
use tokio::time::{Instant, sleep, timeout};

pub(crate) const SERVICE: &str = "checkout";

pub(crate) struct Worker {
    pub(crate) provider: VersionedProvider,
    poller: PollerContextOwner,
}

impl Worker {
    pub(crate) fn of(url: &str) -> Self {
        Self::with_lease(url, Duration::from_secs(2))
    }

    pub(crate) fn with_lease(url: &str, ttl: Duration) -> Self {
        let store = PostgresStore::builder(url, SERVICE).lease_ttl(ttl).build();
        Self::over(&store.unwrap())
    }

    pub(crate) fn over(store: &PostgresStore) -> Self {
        let provider = store.provider();
        let poller = PollerContextOwner::new(PollerSchedule::new(Duration::from_secs(30)));
        provider.on_poller_attached(poller.context());
        Self { provider, poller }
    }

    pub(crate) async fn tries_to_lead(&self) -> Result<bool, ProviderError> {
        self.provider.should_fetch_flag_definitions().await
    }

    pub(crate) async fn leads(&self) -> bool {
        self.tries_to_lead().await.unwrap()
    }

    pub(crate) async fn reads(&self) -> Option<FlagDefinitionCacheData> {
        self.provider.get_flag_definitions().await.unwrap()
    }

    pub(crate) async fn publishes(
        &self,
        data: &FlagDefinitionCacheData,
    ) -> Result<(), ProviderError> {
        self.provider.on_flag_definitions_received(data).await
    }

    pub(crate) async fn hears(&self, outcome: FetchOutcome) -> Result<(), ProviderError> {
        self.provider.on_fetch_without_update(outcome).await
    }

    pub(crate) async fn shuts_down(&self) {
        self.provider.shutdown().await.unwrap();
    }

    pub(crate) async fn is_notified_within(&self, limit: Duration) -> bool {
        timeout(limit, self.poller.changed()).await.is_ok()
    }

    /// Until no notification has come for `quiet`.
    pub(crate) async fn drain_notifications(&self, quiet: Duration) {
        while self.is_notified_within(quiet).await {}
    }

    /// Publishes until `follower` is notified: it takes its time to listen.
    pub(crate) async fn publishes_until_heard(&self, follower: &Self) {
        for number in 0..200 {
            assert!(self.leads().await);
            let data = crate::sets::fetched("warm", &format!("\"w{number}\""), 1_000 - number);
            self.publishes(&data).await.unwrap();
            if follower.is_notified_within(Duration::from_millis(50)).await {
                return follower
                    .drain_notifications(Duration::from_millis(300))
                    .await;
            }
        }
        panic!("no notification");
    }

    /// Asks until it leads; how long that took.
    pub(crate) async fn leads_within(&self, limit: Duration) -> Option<Duration> {
        let begin = Instant::now();
        while begin.elapsed() < limit {
            if self.tries_to_lead().await.unwrap_or(false) {
                return Some(begin.elapsed());
            }
            sleep(Duration::from_millis(50)).await;
        }
        None
    }
}
