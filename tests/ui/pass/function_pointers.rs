use flagcache::{FlagDefinitionCacheData, flag_cache_provider};

#[allow(dead_code)]
struct Store<T>(T);

#[flag_cache_provider]
impl Store<fn(&'_ str, fn(&'_ u8) -> &'_ u8) -> &'_ str> {
    fn should_fetch_flag_definitions(&self) -> bool {
        true
    }

    fn get_flag_definitions(&self) -> Option<FlagDefinitionCacheData> {
        None
    }

    fn on_flag_definitions_received(&self, _: &FlagDefinitionCacheData) {}
}

fn main() {}
