//! The provider keeps the rules that the bundled stores keep, as far as they apply to it.

use std::sync::Arc;
use std::time::Duration;

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
}

impl TestStore for Sqlite {
    fn provider(&self) -> Arc<dyn FlagDefinitionCacheProvider> {
        let path = self.0.path().join("flags.db");
        Arc::new(SqliteProvider::open(path, LEASE).expect("a database for the test"))
    }

    fn lease_time(&self) -> Duration {
        LEASE
    }
}

flagcache::testing::conformance!(Sqlite::fresh, elects, lease, create_only, fenced, stored_copy);
