//! A provider with the four methods alone: no leader, no push, nothing but a copy. The rules for that apply to it.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use flagcache_core::{FlagDefinitionCacheData, FlagDefinitionCacheProvider, ProviderError};

#[derive(Clone, Default)]
struct FourMethods(Arc<Mutex<Option<Bytes>>>);

#[async_trait]
impl FlagDefinitionCacheProvider for FourMethods {
    async fn should_fetch_flag_definitions(&self) -> Result<bool, ProviderError> {
        Ok(true)
    }

    async fn get_flag_definitions(&self) -> Result<Option<FlagDefinitionCacheData>, ProviderError> {
        let copy = self.0.lock().unwrap().clone();
        copy.map(|copy| FlagDefinitionCacheData::from_json(copy).map_err(ProviderError::from))
            .transpose()
    }

    async fn on_flag_definitions_received(
        &self,
        data: &FlagDefinitionCacheData,
    ) -> Result<(), ProviderError> {
        *self.0.lock().unwrap() = Some(data.to_json());
        Ok(())
    }
}

flagcache_providers::conformance!(|| {
    let provider = FourMethods::default();
    move || provider.clone()
});
