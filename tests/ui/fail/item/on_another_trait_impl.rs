use flagcache::flag_cache_provider;

struct Store;

#[flag_cache_provider]
impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Store")
    }
}

fn main() {}
