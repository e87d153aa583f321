use flagcache::{FlagDefinitionCacheData, flag_cache_provider};

struct Store;

#[flag_cache_provider]
impl Store {
    fn shouldFetchFlagDefinitions(&self) -> bool {
        true
    }

    fn getFlagDefinitions(&self) -> Option<FlagDefinitionCacheData> {
        None
    }

    fn onFlagDefinitionsReceived(&self, _: &FlagDefinitionCacheData) {}
}

fn main() {}
