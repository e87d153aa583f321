use flagcache::OpenProvider;

#[derive(OpenProvider)]
#[open_provider(schemes("etcd", "etcds"))]
struct Store {
    service: String,
}

fn main() {}
