use flagcache::{FlagDefinitionCacheData, flag_cache_provider};

trait Backend: Send + Sync + 'static {
    type Error;
    fn ask(&self) -> Result<bool, Self::Error>;
}

struct Store<T>(T);

#[flag_cache_provider]
impl<T: Backend> Store<T> {
    async fn should_fetch_flag_definitions(&self) -> Result<bool, T::Error> {
        self.0.ask()
    }

    fn get_flag_definitions(&self) -> Option<FlagDefinitionCacheData> {
        None
    }

    fn on_flag_definitions_received(&self, _: &FlagDefinitionCacheData) {}
}

fn main() {}
