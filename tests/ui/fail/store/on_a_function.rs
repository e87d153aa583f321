use flagcache::flag_cache_store;

#[flag_cache_store]
fn read() {}

fn main() {}
