//! The PostgreSQL store keeps the rules. Each worker has a store, and so connections, of its own, as another process would;
//! each test has a service of its own in one database.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use flagcache_core::FlagDefinitionCacheProvider;
use flagcache_providers::PostgresStore;
use flagcache_providers::testing::conformance::{POLL_INTERVAL, TestStore};
use flagcache_providers::testing::{Connections, Outage, TcpProxy};

use crate::server::Postgres;

const LEASE_TTL: Duration = Duration::from_millis(2_000);

struct Database {
    server: Arc<Postgres>,
    service: String,
    proxy: TcpProxy,
}

impl Database {
    fn fresh() -> Self {
        // Ends with the last test that uses it.
        static SERVER: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());
        static SERVICES: AtomicU64 = AtomicU64::new(0);
        let mut shared = SERVER.lock().unwrap();
        let server = shared.upgrade().unwrap_or_else(|| {
            let server = Arc::new(Postgres::start_with(&["max_connections=500"]));
            *shared = Arc::downgrade(&server);
            server
        });
        let service = format!("kit-{}", SERVICES.fetch_add(1, Ordering::Relaxed));
        let proxy = TcpProxy::start(([127, 0, 0, 1], server.port()).into()).unwrap();
        Self {
            server,
            service,
            proxy,
        }
    }
}

#[async_trait]
impl TestStore for Database {
    fn provider(&self) -> Arc<dyn FlagDefinitionCacheProvider> {
        let url = format!(
            "postgres://app@{}/postgres?sslmode=disable",
            self.proxy.addr()
        );
        let builder = PostgresStore::builder(url, &self.service);
        Arc::new(builder.lease_ttl(LEASE_TTL).build().unwrap().provider())
    }

    /// The lease is renewed until two polls have been missed.
    fn lease_time(&self) -> Duration {
        LEASE_TTL + POLL_INTERVAL * 2
    }

    async fn damage(&self, copy: Option<Bytes>) {
        let key = |name: &str| format!("posthog/flags/{}/{name}", self.service);
        let slot = self.server.psql(&format!(
            "SELECT convert_from(value, 'UTF8')::jsonb #>> '{{copy,slot}}' FROM flagcache WHERE key = '{}'",
            key("head")
        ));
        let slot = if slot.is_empty() { "a" } else { &slot };
        let Some(copy) = copy else {
            let sql = format!("DELETE FROM flagcache WHERE key = '{}'", key(slot));
            self.server.psql(&sql);
            return;
        };
        // As a tool would that knows the format: the record names what the slot holds.
        let hash = format!("{:016x}", xxhash_rust::xxh3::xxh3_64(&copy));
        let hex: String = copy.iter().map(|byte| format!("{byte:02x}")).collect();
        let set = format!(
            r#"{{"slot":"{slot}","length":{},"hash":"{hash}"}}"#,
            copy.len()
        );
        let empty =
            r#"{"schema":1,"leader":null,"term":0,"renewal":0,"lease_ms":1000,"copy":null}"#;
        self.server.psql(&format!(
            "INSERT INTO flagcache (key, value) VALUES ('{slot_key}', '\\x{hex}') \
             ON CONFLICT (key) DO UPDATE SET value = excluded.value, version = DEFAULT; \
             INSERT INTO flagcache AS f (key, value) \
             VALUES ('{head_key}', convert_to(jsonb_set('{empty}'::jsonb, '{{copy}}', '{set}')::text, 'UTF8')) \
             ON CONFLICT (key) DO UPDATE SET version = DEFAULT, \
             value = convert_to(jsonb_set(convert_from(f.value, 'UTF8')::jsonb, '{{copy}}', '{set}')::text, 'UTF8')",
            slot_key = key(slot),
            head_key = key("head"),
        ));
    }

    async fn outage(&self, outage: Outage) {
        self.proxy.set(outage);
    }

    fn connections(&self) -> Connections {
        self.proxy.connections()
    }
}

flagcache_providers::conformance!(
    Database::fresh,
    elects,
    lease,
    create_only,
    fenced,
    stored_copy,
    restores,
    steps_down,
    push,
    confirms,
    reports_lease,
    quota_mark,
    fleet_failure,
    carries_requests,
    damage,
    outage
);
