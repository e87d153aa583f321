//! A flag definition cache in one SQLite file, shared by the processes of one machine.
//!
//! This is what a provider looks like that flagcache does not bundle: plain blocking code, made into a provider by one
//! attribute, held to the rules by the conformance kit (`tests/conformance.rs` of `examples/sqlite_provider`).
//!
//! The table has one row. It contains the copy in its stored form and the lease: its owner and its end. Every write is one statement
//! that checks the lease, so a former leader overwrites nothing.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use flagcache::{FetchOutcome, FlagDefinitionCacheData, ProviderError, flag_cache_provider};
use rusqlite::{Connection, OptionalExtension, params};

const TABLE: &str = "
    CREATE TABLE IF NOT EXISTS flags (id INTEGER PRIMARY KEY CHECK (id = 1), copy BLOB, leader TEXT, lease_ends INTEGER);
    INSERT OR IGNORE INTO flags (id) VALUES (1);";

/// One worker's provider. `Clone`, because a blocking body runs on a thread of its own.
#[derive(Clone, Debug)]
pub struct SqliteProvider {
    connection: Arc<Mutex<Connection>>,
    /// Identifies this worker in the lease. From SQLite's random numbers, so that two processes never share one.
    worker: String,
    lease: Duration,
}

impl SqliteProvider {
    /// Opens or creates the file. A leader without decisions is replaced after `lease`: use twice the poll interval or more.
    pub fn open(path: impl AsRef<Path>, lease: Duration) -> rusqlite::Result<Self> {
        let connection = Connection::open(path)?;
        // Below the poller's provider timeout of 2 s, so that SQLite reports the cause.
        connection.busy_timeout(Duration::from_secs(1))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.execute_batch(TABLE)?;
        let worker = connection.query_row("SELECT hex(randomblob(16))", [], |row| row.get(0))?;
        Ok(Self {
            connection: Arc::new(Mutex::new(connection)),
            worker,
            lease,
        })
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        // A panic under the lock leaves no statement half done: SQLite rolls it back.
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> Result<Option<FlagDefinitionCacheData>, ProviderError> {
        let copy = self
            .connection()
            .query_row("SELECT copy FROM flags", [], |row| {
                row.get::<_, Option<Vec<u8>>>(0)
            });
        match copy
            .optional()
            .map_err(ProviderError::from_error)?
            .flatten()
        {
            Some(copy) => Ok(Some(FlagDefinitionCacheData::from_json(copy)?)),
            None => Ok(None),
        }
    }

    /// The leader overwrites, any worker fills an empty table; check and write are one statement.
    fn write(&self, data: &FlagDefinitionCacheData) -> rusqlite::Result<()> {
        let sql = "UPDATE flags SET copy = ?1 WHERE leader = ?2 OR copy IS NULL";
        self.connection()
            .execute(sql, params![&data.to_json()[..], self.worker])
            .map(drop)
    }

    fn release(&self) -> rusqlite::Result<()> {
        let sql = "UPDATE flags SET leader = NULL, lease_ends = NULL WHERE leader = ?1";
        self.connection().execute(sql, [&self.worker]).map(drop)
    }
}

#[flag_cache_provider]
impl SqliteProvider {
    #[flag_cache(blocking)]
    fn should_fetch_flag_definitions(&self) -> rusqlite::Result<bool> {
        let now = millis(
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default(),
        );
        let sql = "UPDATE flags SET leader = ?1, lease_ends = ?2 WHERE leader IS NULL OR leader = ?1 OR lease_ends <= ?3";
        let rows = self.connection().execute(
            sql,
            params![self.worker, now.saturating_add(millis(self.lease)), now],
        )?;
        Ok(rows == 1)
    }

    #[flag_cache(blocking)]
    fn get_flag_definitions(&self) -> Result<Option<FlagDefinitionCacheData>, ProviderError> {
        self.read()
    }

    #[flag_cache(blocking)]
    fn on_flag_definitions_received(&self, data: &FlagDefinitionCacheData) -> rusqlite::Result<()> {
        self.write(data)
    }

    #[flag_cache(blocking)]
    fn shutdown(&self) -> rusqlite::Result<()> {
        self.release()
    }

    /// A restarted leader gets the stored copy: its first request costs 1 unit, not 10.
    #[flag_cache(blocking)]
    fn peek_flag_definitions(&self) -> Result<Option<FlagDefinitionCacheData>, ProviderError> {
        self.read()
    }

    /// Restores a copy that is gone or was changed by others.
    #[flag_cache(blocking)]
    fn on_fetch_without_update(&self, outcome: FetchOutcome<'_>) -> Result<(), ProviderError> {
        let Some(data) = outcome.data() else { return Ok(()) };
        // What the API just confirmed wins; after a failure, a copy that was fetched later than ours stays.
        let stays = self.read().ok().flatten().is_some_and(|copy| {
            copy.copy_id() == data.copy_id() || (!outcome.is_unchanged() && copy.fetched_at() > data.fetched_at())
        });
        if stays { Ok(()) } else { self.write(data).map_err(ProviderError::from_error) }
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
