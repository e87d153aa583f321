use flagcache::{MemoryProvider, MemoryStore, OpenProvider};

#[derive(OpenProvider)]
#[open_provider(schemes("etcd", "etcds"))]
struct Store {
    #[open_provider(default = 3)]
    retries: u16,
    #[open_provider(default)]
    size: u64,
}

impl Store {
    fn open(self) -> Result<MemoryProvider, String> {
        Ok(MemoryStore::new().provider())
    }
}

fn main() {}
