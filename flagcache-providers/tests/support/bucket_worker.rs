//! One worker: a store of its own, as another process has it, and a provider attached to a poller.
#![allow(dead_code)]

use std::time::Duration;

use flagcache_core::{
    FetchOutcome, FlagDefinitionCacheData, FlagDefinitionCacheProvider, PollerContextOwner,
    PollerSchedule, ProviderError,
};
use flagcache_providers::{BucketStoreBuilder, VersionedProvider};
use tokio::time::{Instant, sleep};

pub(crate) const SERVICE: &str = "checkout";

pub(crate) struct Worker {
    provider: VersionedProvider,
    _poller: PollerContextOwner,
}

impl Worker {
    /// With a lease that no timer renews during a test.
    pub(crate) fn over(store: BucketStoreBuilder) -> Self {
        Self::with_lease(store, Duration::from_secs(3_600))
    }

    pub(crate) fn with_lease(store: BucketStoreBuilder, ttl: Duration) -> Self {
        let provider = store.lease_ttl(ttl).build().unwrap().provider();
        let poller = PollerContextOwner::new(PollerSchedule::new(Duration::from_secs(30)));
        provider.on_poller_attached(poller.context());
        Self {
            provider,
            _poller: poller,
        }
    }

    pub(crate) async fn tries_to_lead(&self) -> Result<bool, ProviderError> {
        self.provider.should_fetch_flag_definitions().await
    }

    pub(crate) async fn leads(&self) -> bool {
        self.tries_to_lead().await.unwrap()
    }

    pub(crate) async fn tries_to_read(
        &self,
    ) -> Result<Option<FlagDefinitionCacheData>, ProviderError> {
        self.provider.get_flag_definitions().await
    }

    pub(crate) async fn reads(&self) -> Option<FlagDefinitionCacheData> {
        self.tries_to_read().await.unwrap()
    }

    pub(crate) async fn publishes(
        &self,
        data: &FlagDefinitionCacheData,
    ) -> Result<(), ProviderError> {
        self.provider.on_flag_definitions_received(data).await
    }

    pub(crate) async fn learns(&self, outcome: FetchOutcome) -> Result<(), ProviderError> {
        self.provider.on_fetch_without_update(outcome).await
    }

    pub(crate) async fn shuts_down(&self) {
        self.provider.shutdown().await.unwrap();
    }

    /// Asks until it leads; whether it did.
    pub(crate) async fn leads_within(&self, limit: Duration) -> bool {
        let begin = Instant::now();
        while begin.elapsed() < limit {
            if self.tries_to_lead().await.unwrap_or(false) {
                return true;
            }
            sleep(Duration::from_millis(50)).await;
        }
        false
    }
}

/// The error and its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}
