use flagcache::FlagDefinitionCacheData;
use flagcache::flag_cache_provider;

struct Store;

#[flag_cache_provider]
impl Store {
    fn should_fetch_flag_definitions(&self) -> bool {
        true
    }

    fn get_flag_definitions(&self) -> Option<FlagDefinitionCacheData> {
        None
    }

    fn on_flag_definitions_received(&self, _data: &FlagDefinitionCacheData) {}
}

flagcache::testing::conformance!(|| || Store, elects, leases, stored_copy);

fn main() {}
