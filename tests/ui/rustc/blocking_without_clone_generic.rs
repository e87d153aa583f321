use std::sync::Arc;

use flagcache::{FlagDefinitionCacheData, flag_cache_provider};

#[derive(Clone)]
struct Store<T>(Arc<T>);

#[flag_cache_provider]
impl<T: Send + Sync + 'static> Store<T> {
    #[flag_cache(blocking)]
    fn should_fetch_flag_definitions(&self) -> bool {
        true
    }

    fn get_flag_definitions(&self) -> Option<FlagDefinitionCacheData> {
        None
    }

    fn on_flag_definitions_received(&self, _: &FlagDefinitionCacheData) {}
}

fn main() {}
