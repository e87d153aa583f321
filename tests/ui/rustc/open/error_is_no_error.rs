use flagcache::{MemoryProvider, MemoryStore, OpenProvider};

#[derive(OpenProvider)]
#[open_provider(schemes("etcd", "etcds"))]
struct Store {
    service: String,
}

impl Store {
    fn open(self) -> Result<MemoryProvider, u8> {
        Ok(MemoryStore::new().provider())
    }
}

fn main() {}
