//! A provider crate that depends on the contract and the macro, not on the facade.

use std::sync::{Arc, Mutex, PoisonError};

use flagcache_core::FlagDefinitionCacheData;
use flagcache_derive::flag_cache_provider;

/// Keeps the definitions in memory.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    data: Arc<Mutex<Option<FlagDefinitionCacheData>>>,
}

#[flag_cache_provider(crate = flagcache_core)]
impl Kept {
    async fn should_fetch_flag_definitions(&self) -> bool {
        true
    }

    fn get_flag_definitions(&self) -> Option<FlagDefinitionCacheData> {
        self.data
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    #[flag_cache(blocking)]
    fn on_flag_definitions_received(&self, data: FlagDefinitionCacheData) {
        *self.data.lock().unwrap_or_else(PoisonError::into_inner) = Some(data);
    }
}

#[cfg(test)]
mod tests {
    use flagcache_core::FlagDefinitionCacheProvider;

    use super::*;

    #[tokio::test]
    async fn is_a_provider() {
        let json = &br#"{"flags":[],"group_type_mapping":{},"cohorts":{}}"#[..];
        let data = FlagDefinitionCacheData::from_json(json).unwrap();
        let provider: Arc<dyn FlagDefinitionCacheProvider> = Arc::new(Kept::default());
        assert!(provider.should_fetch_flag_definitions().await.unwrap());
        provider.on_flag_definitions_received(&data).await.unwrap();
        assert_eq!(
            provider
                .get_flag_definitions()
                .await
                .unwrap()
                .unwrap()
                .to_json(),
            data.to_json()
        );
    }
}
