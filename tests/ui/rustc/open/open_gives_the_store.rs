use flagcache::{MemoryStore, OpenProvider};

#[derive(OpenProvider)]
#[open_provider(schemes("etcd", "etcds"))]
struct Store {
    service: String,
}

impl Store {
    fn open(self) -> Result<MemoryStore, String> {
        Ok(MemoryStore::new())
    }
}

fn main() {}
