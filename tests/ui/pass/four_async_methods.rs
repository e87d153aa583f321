use std::sync::Arc;

use flagcache::{FlagDefinitionCacheData, FlagDefinitionCacheProvider, flag_cache_provider};

struct Store;

#[flag_cache_provider]
impl Store {
    async fn should_fetch_flag_definitions(&self) -> bool {
        true
    }

    async fn get_flag_definitions(&self) -> Option<FlagDefinitionCacheData> {
        None
    }

    async fn on_flag_definitions_received(&self, _: &FlagDefinitionCacheData) {}

    async fn shutdown(&self) {}
}

fn main() {
    let _: Arc<dyn FlagDefinitionCacheProvider> = Arc::new(Store);
}
