use flagcache::flag_cache_provider;

#[flag_cache_provider]
trait Store {
    fn shutdown(&self);
}

fn main() {}
