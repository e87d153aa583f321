//! [`FileProvider`]: the provider of one poller.

use std::sync::Arc;

use flagcache_core::{
    FetchOutcome, FlagDefinitionCacheData, PollerContext, ProviderError, macro_support,
};
use flagcache_derive::flag_cache_provider;

use super::candidate::Candidate;
use super::maintenance;
use super::shared::Shared;

/// A [`FileStore`](super::FileStore)'s provider for one poller. Dropping it releases leadership, like a shutdown.
#[derive(Debug)]
pub struct FileProvider {
    store: Arc<Shared>,
    candidate: Arc<Candidate>,
}

impl FileProvider {
    pub(super) fn new(store: Arc<Shared>) -> Self {
        let candidate = Arc::new(Candidate::new(Arc::clone(store.files())));
        Self { store, candidate }
    }

    /// Runs `call` as the macro runs a body marked `#[flag_cache(blocking)]`. The attribute itself needs a provider that
    /// is `Clone`, which this one is not, so that it cannot be attached twice.
    ///
    /// If its future is dropped, the call still runs to its end. That is harmless, because every write checks the lock
    /// again.
    async fn blocking<T, F>(&self, call: F) -> Result<T, ProviderError>
    where
        T: Send + 'static,
        F: FnOnce(&Shared, &Candidate) -> Result<T, ProviderError> + Send + 'static,
    {
        let store = Arc::clone(&self.store);
        macro_support::blocking(&self.candidate, Arc::clone, store, |candidate, store| {
            call(store, candidate)
        })
        .await
    }
}

#[flag_cache_provider(crate = flagcache_core)]
impl FileProvider {
    async fn should_fetch_flag_definitions(&self) -> Result<bool, ProviderError> {
        self.blocking(|store, candidate| store.decide(candidate))
            .await
    }

    async fn get_flag_definitions(&self) -> Result<Option<FlagDefinitionCacheData>, ProviderError> {
        self.blocking(|store, candidate| store.read(candidate))
            .await
    }

    async fn on_flag_definitions_received(
        &self,
        data: &FlagDefinitionCacheData,
    ) -> Result<(), ProviderError> {
        let data = data.clone();
        self.blocking(move |store, candidate| store.publish(candidate, &data))
            .await
    }

    async fn shutdown(&self) -> Result<(), ProviderError> {
        self.store.leave(&self.candidate);
        self.blocking(|_, candidate| {
            candidate.close();
            Ok(())
        })
        .await
    }

    async fn peek_flag_definitions(
        &self,
    ) -> Result<Option<FlagDefinitionCacheData>, ProviderError> {
        self.blocking(|store, candidate| store.read(candidate))
            .await
    }

    async fn on_fetch_without_update(&self, outcome: FetchOutcome) -> Result<(), ProviderError> {
        self.blocking(move |store, candidate| store.fetch_without_update(candidate, &outcome))
            .await
    }

    async fn request_refresh(&self) -> Result<bool, ProviderError> {
        self.blocking(|store, _| store.request_refresh().map(|()| true))
            .await
    }

    fn on_poller_attached(&self, context: PollerContext) {
        if self.store.attach(&self.candidate, context)
            && let Err(error) = maintenance::start(&self.store)
        {
            self.store.thread_failed();
            tracing::warn!(%error, "cannot start a thread; changes are seen at the next tick only");
        }
    }
}

impl Drop for FileProvider {
    fn drop(&mut self) {
        self.store.leave(&self.candidate);
        self.candidate.close_soon();
    }
}
