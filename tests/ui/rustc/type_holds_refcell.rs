use flagcache::{FlagDefinitionCacheData, flag_cache_provider};

struct Store {
    kept: std::cell::RefCell<Option<FlagDefinitionCacheData>>,
}

#[flag_cache_provider]
impl Store {
    async fn should_fetch_flag_definitions(&self) -> bool {
        true
    }

    async fn get_flag_definitions(&self) -> Option<FlagDefinitionCacheData> {
        None
    }

    async fn on_flag_definitions_received(&self, _: &FlagDefinitionCacheData) {}
}

fn main() {}
