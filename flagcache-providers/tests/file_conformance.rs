//! The file store keeps the rules of every provider; see the conformance kit.
#![cfg(all(feature = "file", feature = "testing"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use flagcache_core::FlagDefinitionCacheProvider;
use flagcache_providers::FileStore;
use flagcache_providers::testing::conformance::TestStore;
use tempfile::TempDir;

struct Files(TempDir);

impl Files {
    fn fresh() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn store(&self) -> FileStore {
        FileStore::builder(self.0.path(), "conformance")
            .build()
            .unwrap()
    }
}

#[async_trait]
impl TestStore for Files {
    /// Of a store of its own, as in another process.
    fn provider(&self) -> Arc<dyn FlagDefinitionCacheProvider> {
        Arc::new(self.store().provider())
    }

    async fn damage(&self, copy: Option<Bytes>) {
        let path = self.store().path().to_owned();
        match copy {
            Some(copy) => fs::write(path, copy).unwrap(),
            None => fs::remove_file(path).unwrap(),
        }
    }
}

// A lock has no lease that ends: a leader that stops asking keeps it for twice its poll interval and 20 s.
flagcache_providers::conformance!(
    Files::fresh,
    elects,
    create_only,
    fenced,
    stored_copy,
    restores,
    steps_down,
    push,
    confirms,
    quota_mark,
    fleet_failure,
    carries_requests,
    damage
);
