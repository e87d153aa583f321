use flagcache::{MemoryProvider, MemoryStore, OpenProvider};

#[derive(OpenProvider)]
#[open_provider(schemes(etcd))]
struct Store {
    service: String,
}

impl Store {
    fn open(self) -> Result<MemoryProvider, String> {
        Ok(MemoryStore::new().provider())
    }
}

fn main() {}
