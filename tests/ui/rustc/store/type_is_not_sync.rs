use std::cell::RefCell;

use flagcache::{Expected, flag_cache_store};

struct Store {
    last: RefCell<u64>,
}

#[flag_cache_store]
impl Store {
    async fn read(&self, _: &str) -> Option<(Vec<u8>, u64)> {
        None
    }

    async fn write(&self, _: &str, _: Vec<u8>, _: Expected) -> Option<u64> {
        *self.last.borrow_mut() += 1;
        None
    }
}

fn main() {}
