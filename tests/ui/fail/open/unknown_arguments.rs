use flagcache::{MemoryProvider, MemoryStore, OpenProvider};

#[derive(OpenProvider)]
#[open_provider(schemes("etcd"), feature = "etcd")]
struct Store {
    #[open_provider(defualt = "1")]
    service: String,
    #[open_provider(secret)]
    token: Option<String>,
}

impl Store {
    fn open(self) -> Result<MemoryProvider, String> {
        Ok(MemoryStore::new().provider())
    }
}

fn main() {}
