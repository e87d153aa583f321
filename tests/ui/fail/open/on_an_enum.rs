use flagcache::OpenProvider;

#[derive(OpenProvider)]
#[open_provider(schemes("etcd", "etcds"))]
enum Store {
    One,
}

fn main() {}
