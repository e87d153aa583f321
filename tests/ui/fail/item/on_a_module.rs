use flagcache::flag_cache_provider;

#[flag_cache_provider]
mod store {}

fn main() {}
