//! A worker: a provider, attached to a stand-in for its poller.
#![allow(
    dead_code,
    reason = "each test binary compiles its own copy, and not each uses all"
)]

use std::time::Duration;

use flagcache_core::{
    FetchOutcome, FlagDefinitionCacheData, FlagDefinitionCacheProvider, FleetFailure, FleetStatus,
    PollerContextOwner, PollerSchedule, ProviderError,
};

pub(crate) struct Worker<P> {
    pub(crate) provider: P,
    pub(crate) poller: PollerContextOwner,
}

impl<P: FlagDefinitionCacheProvider> Worker<P> {
    pub(crate) fn attached(provider: P, schedule: PollerSchedule) -> Self {
        let poller = PollerContextOwner::new(schedule);
        provider.on_poller_attached(poller.context());
        Self { provider, poller }
    }

    pub(crate) async fn decide(&self) -> Result<bool, ProviderError> {
        self.provider.should_fetch_flag_definitions().await
    }

    pub(crate) async fn leads(&self) -> bool {
        self.decide().await.unwrap()
    }

    pub(crate) async fn read(&self) -> Result<Option<FlagDefinitionCacheData>, ProviderError> {
        self.provider.get_flag_definitions().await
    }

    pub(crate) async fn reads(&self) -> Option<FlagDefinitionCacheData> {
        self.read().await.unwrap()
    }

    pub(crate) async fn publish(
        &self,
        data: &FlagDefinitionCacheData,
    ) -> Result<(), ProviderError> {
        self.provider.on_flag_definitions_received(data).await
    }

    pub(crate) async fn publishes(&self, data: &FlagDefinitionCacheData) {
        self.publish(data).await.unwrap();
    }

    pub(crate) async fn fetch_without_update(
        &self,
        outcome: FetchOutcome,
    ) -> Result<(), ProviderError> {
        self.provider.on_fetch_without_update(outcome).await
    }

    pub(crate) async fn fetches_without_update(&self, outcome: FetchOutcome) {
        self.fetch_without_update(outcome).await.unwrap();
    }

    /// What the store has reported since the last call.
    pub(crate) fn report(&self) -> FleetStatus {
        self.poller.take_report().unwrap()
    }

    /// The failure of a leader that the store reports with a read.
    pub(crate) async fn failure(&self) -> Option<FleetFailure> {
        self.reads().await;
        self.report().fleet_failure
    }

    /// Waits for a notification.
    pub(crate) async fn noticed(&self, timeout: Duration) -> bool {
        tokio::time::timeout(timeout, self.poller.changed())
            .await
            .is_ok()
    }
}
