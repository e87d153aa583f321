use flagcache::{FlagDefinitionCacheData, flag_cache_provider};

struct Store;

#[flag_cache_provider]
impl Store {
    fn should_fetch(&self) -> bool {
        true
    }

    fn get(&self) -> Option<FlagDefinitionCacheData> {
        None
    }

    fn on_received(&self, _: &FlagDefinitionCacheData) {}
}

fn main() {}
