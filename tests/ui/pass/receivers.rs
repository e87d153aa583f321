use flagcache::{FlagDefinitionCacheData, flag_cache_provider};

struct Store;

#[flag_cache_provider]
impl Store {
    fn should_fetch_flag_definitions(self: &Store) -> bool {
        true
    }

    async fn get_flag_definitions(self: &Self) -> Option<FlagDefinitionCacheData> {
        None
    }

    fn on_flag_definitions_received(self: &Store, _: &FlagDefinitionCacheData) {}
}

fn main() {}
