//! Documentation is asked for everywhere.

#![deny(missing_docs, rustdoc::all)]

use flagcache::{FlagDefinitionCacheData, flag_cache_provider};

/// A store.
#[derive(Clone, Debug)]
pub struct Store;

#[flag_cache_provider]
impl Store {
    /// Whether to fetch.
    #[flag_cache(blocking)]
    pub fn should_fetch_flag_definitions(&self) -> std::io::Result<bool> {
        Ok(true)
    }

    /// The copy.
    pub async fn get_flag_definitions(&self) -> Option<FlagDefinitionCacheData> {
        None
    }

    /// Keeps a copy.
    pub fn on_flag_definitions_received(&self, data: FlagDefinitionCacheData) -> impl Future<Output = ()> + Send {
        async move { drop(data) }
    }
}

fn main() {}
