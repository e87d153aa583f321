use flagcache::{FetchOutcome, FlagDefinitionCacheData, PollerContext, flag_cache_provider};

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

    fn shutdown(&self) {}

    fn peek_flag_definitions(&self) -> Option<FlagDefinitionCacheData> {
        None
    }

    fn on_fetch_without_update(&self, _: FetchOutcome) {}

    fn on_poller_attached(&self, _: PollerContext) {}

    fn reload_flag_definitions(&self) -> Option<FlagDefinitionCacheData> {
        None
    }
}

fn main() {}
