use flagcache::OpenProvider;

#[derive(OpenProvider)]
#[open_provider(schemes("etcd", "etcds"))]
struct Store(String);

fn main() {}
