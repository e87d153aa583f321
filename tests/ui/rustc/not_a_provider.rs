use flagcache::FlagDefinitionCacheProvider;

struct Store;

fn use_it(store: Store) -> std::sync::Arc<dyn FlagDefinitionCacheProvider> {
    std::sync::Arc::new(store)
}

fn main() {}
