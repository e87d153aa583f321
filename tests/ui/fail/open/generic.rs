use flagcache::OpenProvider;

#[derive(OpenProvider)]
#[open_provider(schemes("etcd", "etcds"))]
struct Store<T> {
    service: T,
}

fn main() {}
