use flagcache::{FlagDefinitionCacheData, PollerContext, flag_cache_provider};

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

    fn on_poller_attached(&self, _: PollerContext) -> bool {
        true
    }
}

fn main() {}
