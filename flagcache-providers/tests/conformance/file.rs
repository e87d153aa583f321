//! The file store keeps the rules. Each worker has a store of its own, as another process would.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use flagcache_core::FlagDefinitionCacheProvider;
use flagcache_providers::FileStore;
use flagcache_providers::testing::conformance::TestStore;
use tempfile::TempDir;

struct File(TempDir);

impl File {
    fn fresh() -> Self {
        Self(TempDir::new().unwrap())
    }
}

#[async_trait]
impl TestStore for File {
    fn provider(&self) -> Arc<dyn FlagDefinitionCacheProvider> {
        Arc::new(FileStore::builder(self.0.path(), "kit").build().unwrap().provider())
    }

    fn lease_time(&self) -> Duration {
        Duration::from_secs(1)
    }

    async fn damage(&self, copy: Option<Bytes>) {
        let path = self.0.path().join("kit.json");
        match copy {
            Some(copy) => fs::write(path, copy).unwrap(),
            None => fs::remove_file(path).unwrap(),
        }
    }
}

flagcache_providers::conformance!(
    File::fresh,
    elects,
    create_only,
    stored_copy,
    restores,
    gives_up_lead,
    push,
    confirms,
    quota_mark,
    damage
);
