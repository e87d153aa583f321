//! The provider meets the rules of the bundled stores, as far as they apply to it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use flagcache::FlagDefinitionCacheProvider;
use flagcache::testing::conformance::TestStore;
use sqlite_provider::SqliteProvider;
use tempfile::TempDir;

const LEASE: Duration = Duration::from_secs(1);

struct Sqlite(TempDir);

impl Sqlite {
    fn fresh() -> Self {
        Self(TempDir::new().expect("a folder for the test"))
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("flags.db")
    }
}

#[async_trait]
impl TestStore for Sqlite {
    fn provider(&self) -> Arc<dyn FlagDefinitionCacheProvider> {
        Arc::new(SqliteProvider::open(self.path(), LEASE).expect("a database for the test"))
    }

    fn lease_time(&self) -> Duration {
        LEASE
    }

    async fn damage(&self, copy: Option<Bytes>) {
        let database = rusqlite::Connection::open(self.path()).expect("the database");
        database.execute("UPDATE flags SET copy = ?1", [copy.as_deref()]).expect("damage");
    }
}

flagcache::testing::conformance!(Sqlite::fresh, elects, lease, create_only, fenced, stored_copy, restores, damage);
