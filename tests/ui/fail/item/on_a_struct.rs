use flagcache::flag_cache_provider;

#[flag_cache_provider]
struct Store<T> {
    shared: std::sync::Arc<T>,
}

fn use_it(store: Store<u8>) -> std::sync::Arc<dyn flagcache::FlagDefinitionCacheProvider> {
    std::sync::Arc::new(store)
}

fn main() {}
