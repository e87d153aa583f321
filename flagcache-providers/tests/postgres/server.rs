//! The servers of these tests.

pub(crate) use flagcache_test_support::{PgBouncer as Pooler, PostgresServer as Postgres};
