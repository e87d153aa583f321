#![deny(warnings, clippy::all)]
//! Every form that a method of a store may have.

use std::convert::Infallible;
use std::future::{Ready, ready};

use bytes::Bytes;
use flagcache::{ChangeNotifier, Expected, ReadIfChanged, Version, VersionedStore, flag_cache_store};

struct Async;

#[flag_cache_store]
impl Async {
    async fn read(&self, key: String) -> Result<Option<(&'static [u8], String)>, Infallible> {
        Ok(Some((b"", key)))
    }

    fn write(&self, _key: &str, value: &Bytes, expected: &Expected) -> Ready<Option<Version>> {
        drop((value.clone(), expected.clone()));
        ready(None)
    }

    fn read_if_changed(&self, _key: &str, known: Version) -> impl Future<Output = ReadIfChanged> {
        drop(known);
        async { ReadIfChanged::Unchanged }
    }

    fn watch(&self, _key: &str, changed: ChangeNotifier) -> bool {
        changed.notify();
        false
    }
}

#[derive(Clone)]
struct Blocking<T>(T);

#[flag_cache_store]
impl<T: Clone + Send + Sync + 'static> Blocking<T> {
    pub fn new(value: T) -> Self {
        Self(value)
    }

    #[flag_cache(blocking)]
    fn read(&self, _: &str) -> Option<(Vec<u8>, i64)> {
        let _ = self.0.clone();
        None
    }

    #[flag_cache(blocking)]
    fn write(&self, _: &str, _: &[u8], _: Expected) -> Result<Option<i64>, String> {
        Err("read-only".to_owned())
    }

    fn watch(&self, _: &str, _: ChangeNotifier) {}
}

fn is_store(_: &dyn VersionedStore) {}

fn main() {
    is_store(&Async);
    is_store(&Blocking::new(1));
}
