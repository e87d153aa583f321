use flagcache::{FlagDefinitionCacheData, flag_cache_provider};

#[derive(Clone)]
pub struct Store;

#[flag_cache_provider]
impl Store {
    #[flagcache::flag_cache(blocking)]
    fn should_fetch_flag_definitions(&self) -> bool {
        true
    }

    fn get_flag_definitions(&self) -> Option<FlagDefinitionCacheData> {
        None
    }

    fn on_flag_definitions_received(&self, _: &FlagDefinitionCacheData) {}

    #[flagcache::flag_cache(helper)]
    pub fn close(&self) {}
}

fn main() {}
