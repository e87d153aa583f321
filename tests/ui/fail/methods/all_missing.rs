use flagcache::flag_cache_provider;

struct Store;

#[flag_cache_provider]
impl Store {}

fn use_it(store: Store) -> std::sync::Arc<dyn flagcache::FlagDefinitionCacheProvider> {
    std::sync::Arc::new(store)
}

fn main() {}
