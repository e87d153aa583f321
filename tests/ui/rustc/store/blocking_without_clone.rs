use flagcache::{Expected, flag_cache_store};

struct Store;

#[flag_cache_store]
impl Store {
    #[flag_cache(blocking)]
    fn read(&self, _: &str) -> Option<(Vec<u8>, u64)> {
        None
    }

    async fn write(&self, _: &str, _: Vec<u8>, _: Expected) -> Option<u64> {
        None
    }
}

fn main() {}
