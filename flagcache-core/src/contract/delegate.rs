//! The implementation of the contract for boxed providers, so that a program can choose one at run time.
//!
//! There is none for `Arc`: one instance serves one poller.

use async_trait::async_trait;

use crate::{
    FetchOutcome, FlagDefinitionCacheData, FlagDefinitionCacheProvider, PollerContext,
    ProviderError,
};

// A forgotten method would silently do nothing in every boxed provider.
#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<P: FlagDefinitionCacheProvider + ?Sized> FlagDefinitionCacheProvider for Box<P> {
    async fn should_fetch_flag_definitions(&self) -> Result<bool, ProviderError> {
        (**self).should_fetch_flag_definitions().await
    }

    async fn get_flag_definitions(&self) -> Result<Option<FlagDefinitionCacheData>, ProviderError> {
        (**self).get_flag_definitions().await
    }

    async fn on_flag_definitions_received(
        &self,
        data: &FlagDefinitionCacheData,
    ) -> Result<(), ProviderError> {
        (**self).on_flag_definitions_received(data).await
    }

    async fn shutdown(&self) -> Result<(), ProviderError> {
        (**self).shutdown().await
    }

    async fn peek_flag_definitions(
        &self,
    ) -> Result<Option<FlagDefinitionCacheData>, ProviderError> {
        (**self).peek_flag_definitions().await
    }

    async fn on_fetch_without_update(&self, outcome: FetchOutcome) -> Result<(), ProviderError> {
        (**self).on_fetch_without_update(outcome).await
    }

    async fn request_refresh(&self) -> Result<bool, ProviderError> {
        (**self).request_refresh().await
    }

    fn on_poller_attached(&self, context: PollerContext) {
        (**self).on_poller_attached(context);
    }
}
