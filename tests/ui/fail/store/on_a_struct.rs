use flagcache::flag_cache_store;

#[flag_cache_store]
struct Store;

fn main() {}
