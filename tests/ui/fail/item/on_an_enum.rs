use flagcache::flag_cache_provider;

#[flag_cache_provider]
pub enum Store {
    Memory,
    Disk,
}

fn main() {}
