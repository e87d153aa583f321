use flagcache::{FlagDefinitionCacheData, flag_cache_provider};

struct Store;

#[flag_cache_provider]
impl Store {
    fn should_fetch_flag_definitions(&self) -> bool {
        true
    }

    #[cfg(any())]
    fn get_flag_definitions(&self) -> Option<FlagDefinitionCacheData> {
        None
    }

    fn on_flag_definitions_received(&self, _: &FlagDefinitionCacheData) {}
}

fn main() {
    let _: Box<dyn flagcache::FlagDefinitionCacheProvider> = Box::new(Store);
}
