use std::sync::Mutex;

use flagcache::{FlagDefinitionCacheData, flag_cache_provider};

#[derive(Default)]
struct Shelf {
    copy: Mutex<Option<FlagDefinitionCacheData>>,
}

#[flag_cache_provider]
impl Shelf {
    /// Should this worker fetch now? One of the fleet should.
    fn should_fetch_flag_definitions(&self) -> bool {
        true
    }

    /// What the store holds. Any error type will do.
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
