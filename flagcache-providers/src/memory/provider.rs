//! One poller's end of the store.

use async_trait::async_trait;
use flagcache_core::{FetchOutcome, FlagDefinitionCacheData, FlagDefinitionCacheProvider, PollerLink, ProviderError};
use tokio::time::Instant;

use super::MemoryStore;
use super::board::MemberId;

/// What a [`MemoryStore`] gives to one poller. Dropping it frees the lead, as a shutdown does.
#[derive(Debug)]
pub struct MemoryProvider {
    store: MemoryStore,
    id: MemberId,
}

impl MemoryProvider {
    pub(super) fn join(store: MemoryStore) -> Self {
        let id = store.board().join();
        Self { store, id }
    }
}

#[async_trait]
impl FlagDefinitionCacheProvider for MemoryProvider {
    async fn should_fetch_flag_definitions(&self) -> Result<bool, ProviderError> {
        Ok(self.store.board().decide(self.id, Instant::now()))
    }

    async fn get_flag_definitions(&self) -> Result<Option<FlagDefinitionCacheData>, ProviderError> {
        Ok(self.store.board().read(self.id, Instant::now()))
    }

    async fn on_flag_definitions_received(&self, data: &FlagDefinitionCacheData) -> Result<(), ProviderError> {
        self.store.board().publish(self.id, data, Instant::now());
        Ok(())
    }

    async fn shutdown(&self) -> Result<(), ProviderError> {
        self.store.board().leave(self.id);
        Ok(())
    }

    async fn stored_flag_definitions(&self) -> Result<Option<FlagDefinitionCacheData>, ProviderError> {
        Ok(self.store.board().read(self.id, Instant::now()))
    }

    async fn on_flag_definitions_not_received(&self, outcome: FetchOutcome<'_>) -> Result<(), ProviderError> {
        self.store.board().not_received(self.id, outcome, Instant::now());
        Ok(())
    }

    fn on_poller_attached(&self, link: PollerLink) {
        self.store.board().attach(self.id, link);
    }
}

impl Drop for MemoryProvider {
    fn drop(&mut self) {
        self.store.board().leave(self.id);
    }
}
