use flagcache::{Expected, flag_cache_store};

struct Store;

#[flag_cache_store]
impl Store {
    async fn read(&self, _: &str) -> Option<(Vec<u8>, u64)> {
        None
    }
}

#[flag_cache_store]
impl Store {
    async fn write(&self, _: &str, _: Vec<u8>, _: Expected) -> Option<u64> {
        None
    }
}

fn main() {}
