//! [`SqliteStore`]: shares flag definitions between the processes of one machine through a SQLite file, with `read` and
//! `write`. [`Versioned`](flagcache::Versioned) implements leases, fencing, restoring and everything else.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use flagcache::{Expected, flag_cache_store};
use rusqlite::{Connection, OptionalExtension, params};

/// One connection to the file, shared by the pollers of a process.
#[derive(Clone)]
pub struct SqliteStore(Arc<Mutex<Connection>>);

#[flag_cache_store]
impl SqliteStore {
    /// Opens the file, and creates it and its table if they do not exist.
    pub fn open(path: impl AsRef<Path>) -> rusqlite::Result<Self> {
        let connection = Connection::open(path)?;
        // Other processes write too; a write that waits longer than this is an error.
        connection.busy_timeout(Duration::from_secs(1))?;
        // AUTOINCREMENT never assigns a number twice, not even after its row was deleted: versions must be unique.
        connection.execute_batch(
            "PRAGMA journal_mode = WAL;
             CREATE TABLE IF NOT EXISTS flags (version INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT UNIQUE, value BLOB)",
        )?;
        Ok(Self(Arc::new(Mutex::new(connection))))
    }

    #[flag_cache(blocking)]
    fn read(&self, key: &str) -> rusqlite::Result<Option<(Vec<u8>, i64)>> {
        let connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sql = "SELECT value, version FROM flags WHERE key = ?1";
        connection
            .query_row(sql, [key], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()
    }

    #[flag_cache(blocking)]
    fn write(&self, key: &str, value: &[u8], expected: Expected) -> rusqlite::Result<Option<i64>> {
        let mut connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = connection.transaction()?;
        if let Some(known) = expected.version() {
            let sql = "DELETE FROM flags WHERE key = ?1 AND version = CAST(?2 AS INTEGER)";
            if transaction.execute(sql, params![key, known.as_str()])? == 0 {
                return Ok(None);
            }
        }
        let sql = "INSERT INTO flags (key, value) VALUES (?1, ?2) ON CONFLICT DO NOTHING RETURNING version";
        let version = transaction
            .query_row(sql, params![key, value], |row| row.get(0))
            .optional()?;
        transaction.commit()?;
        Ok(version)
    }
}
