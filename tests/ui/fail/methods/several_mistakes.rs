use flagcache::{FlagDefinitionCacheData, flag_cache_provider};

struct Store;

#[flag_cache_provider]
impl Store {
    async fn should_fetch_flag_definitions(&mut self) -> bool {
        true
    }

    async fn on_flag_definitions_received(&self, _: &FlagDefinitionCacheData) {}

    async fn shutdown(&self, _: u8) {}
}

fn main() {}
