//! [`ReadOnly`]: a provider that never writes.

use async_trait::async_trait;
use flagcache_core::{
    FetchOutcome, FlagDefinitionCacheData, FlagDefinitionCacheProvider, PollerContext,
    ProviderError,
};

/// Reads a store, never leads and never writes: for the readers of a fleet in which one job writes.
///
/// The decision is always `false`, without asking the store; publishes and outcomes without an update do not reach it.
/// Reads, notifications, requests for a refresh and the shutdown do. Give the poller a source without a secret key as
/// well, so that it sends no requests: with a key it would fetch whenever the store is empty or unreadable. The writer is
/// [`refresh_once`](flagcache_core::refresh_once), whose documentation shows both as Kubernetes objects.
///
/// ```
/// # #[cfg(feature = "memory")]
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use flagcache_core::{FlagDefinitionCacheData, FlagDefinitionCacheProvider};
/// use flagcache_providers::{MemoryStore, ReadOnly};
///
/// let store = MemoryStore::new();
/// let reader = ReadOnly(store.provider());
/// assert!(!reader.should_fetch_flag_definitions().await?);
/// reader.on_flag_definitions_received(&FlagDefinitionCacheData::from_json(r#"{"flags":[]}"#)?).await?;
/// assert!(reader.get_flag_definitions().await?.is_none());
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "memory"))]
/// # fn main() {}
/// ```
#[derive(Clone, Debug)]
pub struct ReadOnly<P>(pub P);

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<P: FlagDefinitionCacheProvider> FlagDefinitionCacheProvider for ReadOnly<P> {
    async fn should_fetch_flag_definitions(&self) -> Result<bool, ProviderError> {
        Ok(false)
    }

    async fn get_flag_definitions(&self) -> Result<Option<FlagDefinitionCacheData>, ProviderError> {
        self.0.get_flag_definitions().await
    }

    async fn on_flag_definitions_received(
        &self,
        _data: &FlagDefinitionCacheData,
    ) -> Result<(), ProviderError> {
        Ok(())
    }

    async fn shutdown(&self) -> Result<(), ProviderError> {
        self.0.shutdown().await
    }

    async fn peek_flag_definitions(
        &self,
    ) -> Result<Option<FlagDefinitionCacheData>, ProviderError> {
        self.0.peek_flag_definitions().await
    }

    async fn on_fetch_without_update(&self, _outcome: FetchOutcome) -> Result<(), ProviderError> {
        Ok(())
    }

    async fn request_refresh(&self) -> Result<bool, ProviderError> {
        // Changes neither the definitions nor who leads.
        self.0.request_refresh().await
    }

    fn on_poller_attached(&self, context: PollerContext) {
        self.0.on_poller_attached(context);
    }
}
