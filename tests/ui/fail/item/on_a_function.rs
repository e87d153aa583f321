use flagcache::flag_cache_provider;

#[flag_cache_provider]
fn should_fetch_flag_definitions() -> bool {
    true
}

fn main() {}
