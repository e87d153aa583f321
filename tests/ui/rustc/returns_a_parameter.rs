use flagcache::{FlagDefinitionCacheData, flag_cache_provider};

struct Store<T>(T);

#[flag_cache_provider]
impl<T: Clone + Send + Sync + 'static> Store<T> {
    async fn should_fetch_flag_definitions(&self) -> T {
        self.0.clone()
    }

    fn get_flag_definitions(&self) -> Option<FlagDefinitionCacheData> {
        None
    }

    fn on_flag_definitions_received(&self, _: &FlagDefinitionCacheData) {}
}

fn main() {}
