use flagcache::{MemoryProvider, MemoryStore, OpenProvider};

#[derive(OpenProvider)]
#[open_provider(schemes("etcd", "etcds"))]
struct Store {
    service: String,
}

impl Store {
    fn open(self) -> MemoryProvider {
        MemoryStore::new().provider()
    }
}

fn main() {}
