use std::sync::Mutex;

use flagcache::{FlagDefinitionCacheData, flag_cache_provider};

#[derive(Default)]
struct Store {
    copy: Mutex<Option<FlagDefinitionCacheData>>,
}

#[flag_cache_provider]
impl Store {
    /// Should this worker fetch now? True for one worker of the fleet.
    fn should_fetch_flag_definitions(&self) -> bool {
        true
    }

    /// The stored copy. Any error type is accepted.
    async fn get_flag_definitions(&self) -> Result<Option<FlagDefinitionCacheData>, String> {
        Ok(self.copy.lock().map_err(|error| error.to_string())?.clone())
    }

    /// Called by the worker that fetched.
    async fn on_flag_definitions_received(&self, data: &FlagDefinitionCacheData) -> Result<(), String> {
        *self.copy.lock().map_err(|error| error.to_string())? = Some(data.clone());
        Ok(())
    }

    // `shutdown` may be left out.
}
