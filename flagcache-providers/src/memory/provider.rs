//! One poller's end of the store.

use flagcache_core::{FetchOutcome, FlagDefinitionCacheData, PollerLink};
use flagcache_derive::flag_cache_provider;
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

#[flag_cache_provider(crate = flagcache_core)]
impl MemoryProvider {
    fn should_fetch_flag_definitions(&self) -> bool {
        self.store.board().decide(self.id, Instant::now())
    }

    fn get_flag_definitions(&self) -> Option<FlagDefinitionCacheData> {
        self.store.board().read(self.id, Instant::now())
    }

    fn on_flag_definitions_received(&self, data: &FlagDefinitionCacheData) {
        self.store.board().publish(self.id, data, Instant::now());
    }

    fn shutdown(&self) {
        self.store.board().leave(self.id);
    }

    fn stored_flag_definitions(&self) -> Option<FlagDefinitionCacheData> {
        self.store.board().read(self.id, Instant::now())
    }

    fn on_flag_definitions_not_received(&self, outcome: FetchOutcome<'_>) {
        self.store.board().not_received(self.id, outcome, Instant::now());
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
