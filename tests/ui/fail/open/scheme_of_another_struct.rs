use flagcache::{MemoryProvider, MemoryStore, OpenProvider};

#[derive(OpenProvider)]
#[open_provider(schemes("etcd", "etcds"))]
struct Store {
    #[open_provider(schemes("etcds", "https"))]
    ca: Option<String>,
}

impl Store {
    fn open(self) -> Result<MemoryProvider, String> {
        Ok(MemoryStore::new().provider())
    }
}

fn main() {}
