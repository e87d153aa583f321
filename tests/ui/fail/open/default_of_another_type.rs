use flagcache::{MemoryProvider, MemoryStore, OpenProvider};

use std::time::Duration;

#[derive(OpenProvider)]
#[open_provider(schemes("etcd", "etcds"))]
struct Store {
    #[open_provider(default = "10")]
    ttl: Duration,
    #[open_provider(default = "70000")]
    retries: u16,
    #[open_provider(default = "yes")]
    watch: bool,
    #[open_provider(default = "-1")]
    size: u64,
}

impl Store {
    fn open(self) -> Result<MemoryProvider, String> {
        Ok(MemoryStore::new().provider())
    }
}

fn main() {}
