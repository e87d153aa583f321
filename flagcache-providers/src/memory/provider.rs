//! [`MemoryProvider`]: the provider of one poller.

use flagcache_core::{FetchOutcome, FlagDefinitionCacheData, PollerContext};
use flagcache_derive::flag_cache_provider;
use tokio::time::Instant;

use super::MemoryStore;
use super::state::MemberId;

/// A [`MemoryStore`]'s provider for one poller. Dropping it releases leadership, like a shutdown.
#[derive(Debug)]
pub struct MemoryProvider {
    store: MemoryStore,
    id: MemberId,
}

impl MemoryProvider {
    pub(super) fn register(store: MemoryStore) -> Self {
        let id = store.state().register();
        Self { store, id }
    }
}

#[flag_cache_provider(crate = flagcache_core)]
impl MemoryProvider {
    fn should_fetch_flag_definitions(&self) -> bool {
        self.store.state().decide(self.id, Instant::now())
    }

    fn get_flag_definitions(&self) -> Option<FlagDefinitionCacheData> {
        self.store.state().read(self.id, Instant::now())
    }

    fn on_flag_definitions_received(&self, data: &FlagDefinitionCacheData) {
        self.store.state().publish(self.id, data, Instant::now());
    }

    fn shutdown(&self) {
        self.store.state().unregister(self.id);
    }

    fn peek_flag_definitions(&self) -> Option<FlagDefinitionCacheData> {
        self.store.state().read(self.id, Instant::now())
    }

    fn on_fetch_without_update(&self, outcome: FetchOutcome) {
        self.store
            .state()
            .fetch_without_update(self.id, outcome, Instant::now());
    }

    fn request_refresh(&self) -> bool {
        self.store.state().request_refresh(self.id);
        true
    }

    fn on_poller_attached(&self, context: PollerContext) {
        self.store.state().attach(self.id, context);
    }
}

impl Drop for MemoryProvider {
    fn drop(&mut self) {
        self.store.state().unregister(self.id);
    }
}
