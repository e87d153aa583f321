use flagcache::{FlagDefinitionCacheData, flag_cache_provider};

pub struct Store;

#[flag_cache_provider]
#[allow(non_snake_case)]
impl Store {
    fn should_fetch_flag_definitions(&self) -> bool {
        true
    }

    fn get_flag_definitions(&self) -> Option<FlagDefinitionCacheData> {
        None
    }

    fn on_flag_definitions_received(&self, _: &FlagDefinitionCacheData) {}

    #[flag_cache(helper)]
    pub fn close(&self) {}

    #[flag_cache(helper)]
    pub fn stored_flag_definitions_count(&self) {}

    #[flag_cache(helper)]
    pub fn parse_flag_definitions(&self) {}

    #[flag_cache(helper)]
    pub fn onFlagDefinitionsChanged(&self) {}

    pub fn set(&self) {}
}

fn main() {}
