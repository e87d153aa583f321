//! The kernel keeps the rules. Each worker has a kernel of its own, as another process would.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use flagcache_core::FlagDefinitionCacheProvider;
use flagcache_providers::Versioned;
use flagcache_providers::testing::conformance::{POLL_INTERVAL, TestStore};

use crate::memory::Memory;
use crate::records::{head, key, put_copy};

const LEASE_TTL: Duration = Duration::from_millis(1_500);

struct Fresh(Memory);

impl Fresh {
    fn store() -> Self {
        Self(Memory::default())
    }
}

#[async_trait]
impl TestStore for Fresh {
    fn provider(&self) -> Arc<dyn FlagDefinitionCacheProvider> {
        let store = Versioned::new(self.0.clone(), "kit").unwrap();
        Arc::new(store.with_lease_ttl(LEASE_TTL).unwrap().provider())
    }

    /// The lease is renewed until two polls have been missed.
    fn lease_time(&self) -> Duration {
        LEASE_TTL + POLL_INTERVAL * 2
    }

    async fn damage(&self, copy: Option<Bytes>) {
        if let Some(copy) = copy {
            return put_copy(&self.0, "kit", copy).await;
        }
        if let Some(slot) = head(&self.0, "kit").await {
            let slot = slot["copy"]["slot"].as_str().unwrap().to_owned();
            self.0.with(|state| state.values.remove(&key("kit", &slot)));
        }
    }
}

flagcache_providers::conformance!(
    Fresh::store,
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
    damage
);
