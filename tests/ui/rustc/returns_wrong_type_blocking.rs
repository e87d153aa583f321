use flagcache::{FlagDefinitionCacheData, flag_cache_provider};

#[derive(Clone)]
struct Store;

#[flag_cache_provider]
impl Store {
    #[flag_cache(blocking)]
    fn should_fetch_flag_definitions(&self) -> u8 {
        1
    }

    async fn get_flag_definitions(&self) -> Option<FlagDefinitionCacheData> {
        None
    }

    async fn on_flag_definitions_received(&self, _: &FlagDefinitionCacheData) {}
}

fn main() {}
