use flagcache::ProviderRegistry;

struct Store;

fn registry() {
    let _ = ProviderRegistry::default().register::<Store>();
}

fn main() {}
