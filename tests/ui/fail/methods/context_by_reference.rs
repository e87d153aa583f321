use flagcache::{FlagDefinitionCacheData, PollerContext, flag_cache_provider};

struct Store;

#[flag_cache_provider]
impl Store {
    fn should_fetch_flag_definitions(&self) -> bool {
        true
    }

    fn get_flag_definitions(&self) -> Option<FlagDefinitionCacheData> {
        None
    }

    fn on_flag_definitions_received(&self, _: &FlagDefinitionCacheData) {}

    fn on_poller_attached(&self, _: &PollerContext) {}
}

fn main() {}
