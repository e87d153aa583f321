//! The Redis store keeps the rules. Each worker has a store, and so a connection, of its own, as another process would.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use flagcache_core::FlagDefinitionCacheProvider;
use flagcache_providers::redis::RedisStore;
use flagcache_providers::testing::conformance::{POLL_INTERVAL, TestStore};
use flagcache_providers::testing::{Connections, Outage, TcpProxy};
use flagcache_test_support::RedisServer;

use crate::worker::{DATA, SERVICE};

const LOCK_TTL: Duration = Duration::from_millis(1_500);

struct Server {
    server: RedisServer,
    proxy: TcpProxy,
}

impl Server {
    fn fresh() -> Self {
        let server = RedisServer::start();
        let proxy = TcpProxy::start(([127, 0, 0, 1], server.port()).into()).unwrap();
        Self { server, proxy }
    }
}

#[async_trait]
impl TestStore for Server {
    fn provider(&self) -> Arc<dyn FlagDefinitionCacheProvider> {
        let builder = RedisStore::builder(format!("redis://{}", self.proxy.addr()), SERVICE);
        let builder = builder.response_timeout(LOCK_TTL / 3).lock_ttl(LOCK_TTL);
        Arc::new(builder.build().unwrap().provider())
    }

    /// The lock is renewed until two polls have been missed.
    fn lease_time(&self) -> Duration {
        LOCK_TTL + POLL_INTERVAL * 2
    }

    async fn damage(&self, copy: Option<Bytes>) {
        match copy {
            Some(copy) => {
                self.server
                    .run_args::<()>(&["SET", DATA, std::str::from_utf8(&copy).unwrap()])
            }
            None => self.server.run_args(&["DEL", DATA]),
        }
    }

    async fn outage(&self, outage: Outage) {
        self.proxy.set(outage);
    }

    fn connections(&self) -> Connections {
        self.proxy.connections()
    }
}

flagcache_providers::conformance!(
    Server::fresh,
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
