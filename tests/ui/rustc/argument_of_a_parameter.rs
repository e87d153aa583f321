use flagcache::{FlagDefinitionCacheData, flag_cache_provider};

struct Store<T>(T);

#[flag_cache_provider]
impl<T: Send + Sync + 'static> Store<T> {
    fn should_fetch_flag_definitions(&self) -> bool {
        true
    }

    fn get_flag_definitions(&self) -> Option<FlagDefinitionCacheData> {
        None
    }

    fn on_flag_definitions_received(&self, _: T) {}
}

fn main() {}
