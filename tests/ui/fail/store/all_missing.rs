use flagcache::flag_cache_store;

struct Store;

#[flag_cache_store]
impl Store {
}

fn main() {}
