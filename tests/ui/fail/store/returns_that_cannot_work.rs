use std::future::{Future, ready};

use flagcache::{Expected, Version, flag_cache_store};

struct NoReturnType;

#[flag_cache_store]
impl NoReturnType {
    async fn read(&self, _: &str) {}

    async fn write(&self, _: &str, _: Vec<u8>, _: Expected) -> Option<u64> {
        None
    }
}

struct FutureInAFuture;

#[flag_cache_store]
impl FutureInAFuture {
    async fn read(&self, _: &str) -> impl Future<Output = Option<(Vec<u8>, u64)>> + Send {
        ready(None)
    }

    fn write(
        &self,
        _: &str,
        _: Vec<u8>,
        _: Expected,
    ) -> Box<dyn Future<Output = Option<Version>> + Send> {
        Box::new(ready(None))
    }
}

struct BorrowedError;

#[flag_cache_store]
impl BorrowedError {
    fn read(&self, _: &str) -> Result<Option<(Vec<u8>, u64)>, &str> {
        Ok(None)
    }

    fn write(&self, _: &str, _: Vec<u8>, _: Expected) -> Option<u64> {
        None
    }
}

fn main() {}
