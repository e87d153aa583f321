//! The Redis store keeps the rules. Each worker has a store, and so a connection, of its own, as another process would.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use flagcache_core::FlagDefinitionCacheProvider;
use flagcache_providers::testing::RedisServer;
use flagcache_providers::testing::conformance::{POLL_INTERVAL, TestStore};

use crate::worker::{DATA, builder};

const LOCK_TTL: Duration = Duration::from_millis(1_500);

struct Server(RedisServer);

impl Server {
    fn fresh() -> Self {
        Self(RedisServer::start())
    }
}

#[async_trait]
impl TestStore for Server {
    fn provider(&self) -> Arc<dyn FlagDefinitionCacheProvider> {
        let builder = builder(&self.0)
            .response_timeout(LOCK_TTL / 3)
            .lock_ttl(LOCK_TTL);
        Arc::new(builder.build().unwrap().provider())
    }

    /// The lock is renewed until two polls have been missed.
    fn lease_time(&self) -> Duration {
        LOCK_TTL + POLL_INTERVAL * 2
    }

    async fn damage(&self, copy: Option<Bytes>) {
        match copy {
            Some(copy) => {
                self.0
                    .run_args::<()>(&["SET", DATA, std::str::from_utf8(&copy).unwrap()])
            }
            None => self.0.run_args(&["DEL", DATA]),
        }
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
    gives_up_lead,
    push,
    confirms,
    tells_lease,
    quota_mark,
    damage
);
