//! Runs the conformance kit on the store.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use flagcache::testing::conformance::{POLL_INTERVAL, TestStore};
use flagcache::{FlagDefinitionCacheProvider, Versioned};
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::{Value, json};
use sqlite_provider::SqliteStore;
use tempfile::TempDir;
use xxhash_rust::xxh3::xxh3_64;

const LEASE_TTL: Duration = Duration::from_secs(2);

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
        let store = SqliteStore::open(self.path()).expect("a database for the test");
        let store = Versioned::new(store, "kit").expect("a name for keys");
        Arc::new(store.with_lease_ttl(LEASE_TTL).expect("a lease").provider())
    }

    /// The lease is renewed until two polls were missed.
    fn lease_time(&self) -> Duration {
        LEASE_TTL + POLL_INTERVAL * 2
    }

    async fn damage(&self, copy: Option<Bytes>) {
        let mut database = Connection::open(self.path()).expect("the database");
        let damage = database.transaction().expect("a transaction");
        let head: Option<Vec<u8>> = damage
            .query_row(
                "SELECT value FROM flags WHERE key = ?1",
                [key("head")],
                |row| row.get(0),
            )
            .optional()
            .expect("the leader record");
        let mut head: Value =
            serde_json::from_slice(&head.expect("a worker has loaded")).expect("a record");
        let slot = head["copy"]["slot"].as_str().expect("a copy").to_owned();
        damage
            .execute("DELETE FROM flags WHERE key = ?1", [key(&slot)])
            .expect("damage");
        if let Some(copy) = copy {
            // As a tool that knows the format would write it: the record identifies the value of the slot.
            let hash = format!("{:016x}", xxh3_64(&copy));
            head["copy"] = json!({"slot": slot, "length": copy.len(), "hash": hash});
            damage
                .execute("DELETE FROM flags WHERE key = ?1", [key("head")])
                .expect("damage");
            for (key, value) in [
                (key(&slot), &copy[..]),
                (key("head"), head.to_string().as_bytes()),
            ] {
                let sql = "INSERT INTO flags (key, value) VALUES (?1, ?2)";
                damage.execute(sql, params![key, value]).expect("damage");
            }
        }
        damage.commit().expect("damage");
    }
}

fn key(name: &str) -> String {
    format!("posthog/flags/kit/{name}")
}

flagcache::testing::conformance!(
    Sqlite::fresh,
    elects,
    lease,
    create_only,
    fenced,
    stored_copy,
    restores,
    steps_down,
    confirms,
    reports_lease,
    quota_mark,
    fleet_failure,
    carries_requests,
    damage
);
